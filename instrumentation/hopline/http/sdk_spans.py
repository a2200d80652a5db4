"""The way of a span into OpenTelemetry's SDK; imported only with a release that has been read."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, get_current_span

_SPAN: Any = sdk._Span
_START_SPAN = sdk.Tracer.start_span
_SET_ATTRIBUTES = sdk.Span.set_attributes
_MAY_BE_DISABLED = hasattr(sdk.Tracer, "_is_enabled")  # since 1.40
_KNOWS_RANDOM = hasattr(IdGenerator, "is_trace_id_random")  # since 1.42
_RANDOM = 2  # a flag of W3C Trace Context, level 2
# By whether a span is sampled, and whether its trace id is random.
_FLAGS = {
    (is_sampled, is_random): TraceFlags(TraceFlags.SAMPLED * is_sampled | _RANDOM * is_random)
    for is_sampled in (False, True)
    for is_random in (False, True)
}
_NAMES = frozenset((str,))
_VALUES = frozenset((str, int, float, bool))


def is_usual(tracer: Any) -> bool:
    """Whether one of the SDK's tracers, and its spans, do what the SDK has written."""
    return (
        type(tracer) is sdk.Tracer
        and "start_span" not in vars(tracer)
        and all(type(own) is FunctionType and own.__globals__ is vars(sdk) for own in (_START_SPAN, _SET_ATTRIBUTES))
    )


class Shortcut:
    """Starts spans as the SDK's tracer does, with the SDK's own parts, but for cleaning the attributes.

    The SDK cleans them one by one: 38,000 instructions for the first five of a span, 30,000 for three more, where a
    span without any takes 100,000. That ours are strings and numbers is seen in 3,000. What is anything else, or may
    reach one of the provider's limits, is left to the SDK; so is everything once somebody patches what is passed by.

    Args:
        tracer: the tracer.
        kind: the kind of its spans.
    """

    __slots__ = ("_count", "_kind", "_most", "_rest", "_tracer")

    def __init__(self, tracer: Any, kind: SpanKind) -> None:
        limits = tracer._span_limits
        self._tracer: sdk.Tracer = tracer
        self._kind = kind
        # Of what makes a span, the part that is always the same; exceptions are recorded and set its status.
        scope = tracer.instrumentation_info, True, True, limits, tracer._instrumentation_scope
        self._rest: tuple[Any, ...] = kind, tracer.span_processor, *scope
        self._count = tracer._tracer_metrics.start_span if hasattr(tracer, "_tracer_metrics") else None  # since 1.40
        self._most = sys.maxsize if limits.max_span_attributes is None else limits.max_span_attributes
        if limits.max_span_attribute_length is not None:
            self._most = -1  # each has to be measured

    def start(
        self, name: str, parent: Context, attributes: Mapping[str, Any], start_time: int, links: Sequence[Link] = ()
    ) -> Span:
        """Start a span, as :meth:`Spans.start` has it."""
        tracer = self._tracer
        above = get_current_span(parent).get_span_context()
        if type(above) is not SpanContext or self._is_unusual():
            return tracer.start_span(name, parent, self._kind, attributes, links, start_time)
        ids = tracer.id_generator
        if above.is_valid:
            origin, trace_id, is_random = above, above.trace_id, _KNOWS_RANDOM and above.trace_flags.random_trace_id
        else:
            origin, trace_id, is_random = None, ids.generate_trace_id(), _KNOWS_RANDOM and ids.is_trace_id_random()
        sampling: Any = tracer.sampler.should_sample(parent, trace_id, name, self._kind, attributes, links)
        decision = sampling.decision
        flags = _FLAGS[decision.is_sampled(), bool(is_random)]
        context = SpanContext(trace_id, ids.generate_span_id(), False, flags, sampling.trace_state)
        counted = None if self._count is None else self._count(origin, decision)
        if not decision.is_recording():
            return NonRecordingSpan(context)
        span = self._made(name, context, origin, sampling.attributes, links)
        if counted is not None:
            span._record_end_metrics = counted
        span.start(start_time, parent)
        return span

    def add(self, span: Any, attributes: Mapping[str, Any]) -> None:
        """Give a span more attributes, as :meth:`Spans.add` has it."""
        if type(span) is _SPAN and sdk.Span.set_attributes is _SET_ATTRIBUTES and _are_plain(attributes.values()):
            with span._lock, span._attributes._lock:
                present = span._attributes._dict
                if span._end_time is None and len(present) + len(attributes) <= self._most:
                    present.update(attributes)
                    return
        span.set_attributes(attributes)

    def _is_unusual(self) -> bool:
        return sdk.Tracer.start_span is not _START_SPAN or (_MAY_BE_DISABLED and not self._tracer._is_enabled())

    def _made(
        self,
        name: str,
        context: SpanContext,
        origin: SpanContext | None,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link],
    ) -> sdk.Span:
        ready = dict(attributes or ())
        is_ready = len(ready) <= self._most and _are_plain(ready.values()) and _are_names(ready)
        cleaned = None if is_ready else attributes
        tracer = self._tracer
        # By position, the same in each of the releases: 10,000 instructions less than by name.
        span: sdk.Span = _SPAN(
            name, context, origin, tracer.sampler, None, tracer.resource, cleaned, None, links, *self._rest
        )
        if is_ready:
            bounded: Any = span._attributes
            bounded._dict = ready
        return span


def _are_plain(values: Iterable[object]) -> bool:
    return _VALUES.issuperset(map(type, values))


def _are_names(names: Collection[object]) -> bool:
    # Those that a sampler has added may be anything.
    return _NAMES.issuperset(map(type, names)) and "" not in names
