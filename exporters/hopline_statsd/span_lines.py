"""From a span to its lines: which rules hold, and what the lines are named, is found out once and cached."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from hopline_statsd.budget import NameBudget
from hopline_statsd.config import StatsdConfig
from hopline_statsd.fields import Attributes, Scope
from hopline_statsd.lines import MAX_VALUE, sample_rate
from hopline_statsd.namer import LineType, Name, Namer
from hopline_statsd.rules import TIMER, Rule
from hopline_statsd.shapes import Shape
from hopline_statsd.stats import INVALID, Tally
from hopline_statsd.values import Reader, conversion_for, reader_for

_MAX_SHAPES = 512
_MAX_PLANS = 32_768
_NS_PER_MS = 1e6

Flat = tuple[Any, ...] | list[Any]
"""Line formats and values by turns, as `Sender.entries` takes them."""


class Emitter(NamedTuple):
    """One line of a span.

    Attributes:
        line_format: The line, with a place for its value.
        read: Gets the value from the attributes; None for the duration.
        rate: The share of the lines that is sent; 1 for all.
    """

    line_format: bytes
    read: Reader | None
    rate: float


Plan = bytes | tuple[Emitter, ...]
"""The lines of a span. Mostly it is one, of the duration, never left out: then it is that line's format."""


class SpanLines:
    """Makes the lines of spans that have one resource.

    Args:
        config: The rules, the dialect, the prefix, the sample rate.
        resource: The attributes of the resource.
        budget: Limits the number of distinct names.
        tally: Where values that make no sense are counted.
    """

    def __init__(self, config: StatsdConfig, resource: Mapping[str, Any], budget: NameBudget, tally: Tally) -> None:
        self._config = config
        self._tally = tally
        self._namer = Namer(config, resource, budget)
        named = [(rule, self._namer.parse(rule.id, rule.naming)) for rule in config.rules.spans]
        # By id(): the hash of an Enum member is computed in Python, which would cost more than all the
        # look-ups.
        self._rules = {
            id(kind): tuple(pair for pair in named if not pair[0].kinds or kind.name.lower() in pair[0].kinds)
            for kind in SpanKind
        }
        self._shapes: dict[int, dict[tuple[str, ...], Shape[Plan]]] = {
            kind: {} for kind, rules in self._rules.items() if rules
        }
        self._cached_plans = 0

    @property
    def kinds(self) -> frozenset[SpanKind]:
        """The kinds of spans that may make lines."""
        return frozenset(kind for kind in SpanKind if id(kind) in self._shapes)

    def of(self, span: ReadableSpan) -> Flat:
        """Make the lines of a span.

        Args:
            span: An ended span.

        Returns:
            Line formats and values by turns; empty where no rule holds.
        """
        kind = id(span._kind)
        shapes = self._shapes.get(kind)
        if shapes is None:
            return ()
        attributes = attributes_of(span)
        shape = shapes.get(tuple(attributes)) or self._add_shape(kind, attributes)
        key = shape.getter(attributes)
        if shape.reads:
            key = (key, tuple([read(span, attributes) for read in shape.reads]))
        plan = shape.plans.get(key)
        if plan is None:
            plan = self._rarer_plan(shapes, shape, span, attributes)
        duration = (span._end_time - span._start_time) / _NS_PER_MS  # type: ignore[operator]
        if not 0.0 <= duration <= MAX_VALUE:
            if duration > MAX_VALUE:
                self._tally.dropped(INVALID)
                return ()
            duration = 0.0  # a clock was set back; the call still counts as one
        return (plan, duration) if isinstance(plan, bytes) else self._several(plan, attributes, duration)

    def _several(self, plan: tuple[Emitter, ...], attributes: Attributes, duration: float) -> Flat:
        entries: list[Any] = []
        for line_format, read, rate in plan:
            if rate < 1.0 and random.random() >= rate:  # noqa: S311  no secret
                continue
            value = duration if read is None else read(attributes)
            if value is None:
                self._tally.dropped(INVALID)
            else:
                entries += (line_format, value)
        return entries

    def _add_shape(self, kind: int, attributes: Attributes) -> Shape[Plan]:
        shapes = self._shapes[kind]
        if len(shapes) >= _MAX_SHAPES:
            shapes.clear()
        return shapes.setdefault(tuple(attributes), Shape(self._rules[kind], attributes))

    def _rarer_plan(
        self, shapes: dict[tuple[str, ...], Shape[Plan]], shape: Shape[Plan], span: ReadableSpan, attributes: Attributes
    ) -> Plan:
        """Find or make the plan of a span whose attributes do not say at once which it is."""
        better = shape.for_types_of(attributes)
        if better is not shape:
            shapes[tuple(attributes)] = better
        key = better.key(span, attributes)
        plan = better.plans.get(key)
        return self._add_plan(better, key, span, attributes) if plan is None else plan

    def _add_plan(self, shape: Shape[Plan], key: object, span: ReadableSpan, attributes: Attributes) -> Plan:
        self._cached_plans += 1
        if self._cached_plans > _MAX_PLANS:
            self._cached_plans = 1
            for shapes in self._shapes.values():
                shapes.clear()
        scope = Scope(attributes, self._namer.resource, span)
        emitters = tuple(self._emitter(rule, name, scope) for rule, name in shape.rules if rule.holds(scope))
        is_one_timer = len(emitters) == 1 and emitters[0].read is None and emitters[0].rate == 1.0
        plan = shape.plans[key] = emitters[0].line_format if is_one_timer else emitters
        return plan

    def _emitter(self, rule: Rule, name: Name, scope: Scope) -> Emitter:
        type_ = self._config.timer_type if rule.type == TIMER else rule.type
        rate = sample_rate(type_, self._config.sample_rate)
        line_format = self._namer.line_format(name, scope, LineType(type_, conversion_for(rule), rate))
        read = reader_for(rule, self._namer.dialect, line_format)
        return Emitter(b"%s" if type_ == "g" else line_format, read, rate)


def attributes_of(span: ReadableSpan) -> Attributes:
    """Return the attributes of an ended span.

    The public property wraps them twice, and each look-up then walks through Python code: ten times the
    cost. Where the SDK keeps them otherwise than it does now, it is used all the same.
    """
    try:
        return span._attributes._dict  # type: ignore[union-attr, no-any-return]
    except AttributeError:
        return dict(span.attributes or {})
