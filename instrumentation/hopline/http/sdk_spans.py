"""The way of a span into OpenTelemetry's SDK; imported only with a release that has been read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    TraceFlags,
    get_current_span,
)

_SPAN: Any = sdk._Span
_MAKE_SPAN = _SPAN.__init__
_MAKE_READABLE_SPAN = sdk.ReadableSpan.__init__
_SET_ATTRIBUTES = _SPAN.set_attributes
_START_SPAN = sdk.Tracer.start_span

_MAY_BE_DISABLED = hasattr(sdk.Tracer, "_is_enabled")  # since 1.40
_KNOWS_RANDOM = hasattr(IdGenerator, "is_trace_id_random")  # since 1.42
_SAMPLED, _DROPPED = Decision.RECORD_AND_SAMPLE, Decision.DROP
_RANDOM = 2  # a flag of W3C Trace Context, level 2
# By whether a span is sampled, and whether its trace id is random.
_FLAGS = {
    (is_sampled, is_random): TraceFlags(TraceFlags.SAMPLED * is_sampled | _RANDOM * is_random)
    for is_sampled in (False, True)
    for is_random in (False, True)
}
_UNSET = Status()
_TYPES_OF_NAMES = frozenset((str,))
_TYPES_OF_VALUES = frozenset((str, int, float, bool))


def is_usual(tracer: Any) -> bool:
    """Whether one of the SDK's tracers, and its spans, do what the SDK has written."""
    return (
        type(tracer) is sdk.Tracer
        and "start_span" not in vars(tracer)
        and all(
            type(own) is FunctionType and own.__globals__ is vars(sdk)
            for own in (_START_SPAN, _MAKE_SPAN, _MAKE_READABLE_SPAN, _SET_ATTRIBUTES)
        )
    )


class Shortcut:
    """Starts spans as the SDK's tracer does, with the SDK's own parts, but for cleaning the attributes.

    The SDK cleans them one by one: 38,000 instructions for the first five of a span, 30,000 for three more, where a
    span without any takes 100,000. That ours are strings and numbers is seen in 3,000. What is anything else, or may
    reach one of the provider's limits, is left to the SDK; so is everything once somebody patches the methods that are
    passed by (``start_span`` of tracers, ``__init__`` of spans and readable spans, ``set_attributes`` of spans), or
    puts another class in the place of spans or of their attributes.

    Args:
        tracer: the tracer.
        kind: the kind of its spans.
    """

    __slots__ = ("_count", "_kind", "_tracer")

    def __init__(self, tracer: Any, kind: SpanKind) -> None:
        self._tracer: sdk.Tracer = tracer
        self._kind = kind
        self._count = tracer._tracer_metrics.start_span if hasattr(tracer, "_tracer_metrics") else None  # since 1.40

    def start(
        self, name: str, parent: Context, attributes: Mapping[str, Any], start_time: int, links: Sequence[Link] = ()
    ) -> Span:
        """Start a span, as :meth:`Spans.start` has it."""
        tracer = self._tracer
        above = get_current_span(parent).get_span_context()
        if type(above) is not SpanContext or self._is_unusual():
            return tracer.start_span(name, parent, self._kind, attributes, links, start_time)
        ids, origin = tracer.id_generator, above if above.is_valid else None
        trace_id = ids.generate_trace_id() if origin is None else origin.trace_id
        sampling: Any = tracer.sampler.should_sample(parent, trace_id, name, self._kind, attributes, links)
        decision = sampling.decision
        is_random = _KNOWS_RANDOM and (
            ids.is_trace_id_random() if origin is None else origin.trace_flags.random_trace_id
        )
        # The usual decisions by identity: to ask them took 2,300 instructions.
        flags = _FLAGS[decision is _SAMPLED or bool(decision.is_sampled()), bool(is_random)]
        context = SpanContext(trace_id, ids.generate_span_id(), False, flags, sampling.trace_state)
        counted = None if self._count is None else self._count(origin, decision)
        if decision is _DROPPED or not decision.is_recording():
            return NonRecordingSpan(context)
        span: sdk.Span = self._made(name, context, origin, sampling.attributes or {}, links)
        if self._count is not None:
            span._record_end_metrics = counted
        span.start(start_time=start_time, parent_context=parent)
        return span

    def add(self, span: Any, attributes: Mapping[str, Any]) -> None:
        """Give a span more attributes, as :meth:`Spans.add` has it."""
        bounded = getattr(span, "_attributes", None)
        if type(span) is _SPAN and type(bounded) is BoundedAttributes and _SPAN.set_attributes is _SET_ATTRIBUTES:
            with span._lock, bounded._lock:
                present = bounded._dict
                if span._end_time is None and _fit(attributes, present, bounded.maxlen, bounded.max_value_len):
                    present.update(attributes)
                    return
        span.set_attributes(attributes)

    def _is_unusual(self) -> bool:
        return (
            sdk.Tracer.start_span is not _START_SPAN
            or sdk._Span is not _SPAN
            or _SPAN.__init__ is not _MAKE_SPAN
            or sdk.ReadableSpan.__init__ is not _MAKE_READABLE_SPAN
            or sdk.BoundedAttributes is not BoundedAttributes  # type: ignore[attr-defined]
            or (_MAY_BE_DISABLED and not self._tracer._is_enabled())
        )

    def _made(
        self,
        name: str,
        context: SpanContext,
        origin: SpanContext | None,
        attributes: Mapping[str, Any],
        links: Sequence[Link],
    ) -> Any:
        # What the SDK's own __init__ does, with what it is given. That one takes 12,000 instructions more, for it
        # passes things on from class to class by name.
        tracer, span = self._tracer, object.__new__(_SPAN)
        span._name = name
        span._context = context
        span._kind = self._kind
        span._instrumentation_info = tracer.instrumentation_info
        span._instrumentation_scope = tracer._instrumentation_scope
        span._parent = origin
        span._start_time = span._end_time = None
        span._resource = tracer.resource
        span._status = _UNSET
        span._sampler = tracer.sampler
        span._trace_config = None
        span._record_exception = span._set_status_on_exception = True
        span._span_processor = tracer.span_processor
        span._limits = tracer._span_limits
        span._lock = threading.Lock()  # whose it is by now: gevent may have patched it since we were imported
        span._attributes = _bounded(attributes, tracer._span_limits)
        span._events = span._new_events()
        span._links = span._new_links(links)
        return span


def _bounded(attributes: Mapping[str, Any], limits: sdk.SpanLimits) -> BoundedAttributes:
    most, longest = limits.max_span_attributes, limits.max_span_attribute_length
    if not _are_named(attributes) or not _fit(attributes, {}, most, longest):
        return BoundedAttributes(most, attributes, False, longest)
    bounded = BoundedAttributes(most, None, False, longest)
    bounded._dict.update(attributes)
    return bounded


def _are_named(attributes: Mapping[str, Any]) -> bool:
    # A sampler may have added some, by any names.
    return _TYPES_OF_NAMES.issuperset(map(type, attributes)) and "" not in attributes


def _fit(attributes: Mapping[str, Any], present: Mapping[str, Any], most: int | None, longest: int | None) -> bool:
    """Whether all that the SDK would do with ``attributes`` is to put them behind those that are there."""
    return (
        longest is None
        and (most is None or len(present) + len(attributes) <= most)
        and present.keys().isdisjoint(attributes)
        and _TYPES_OF_VALUES.issuperset(map(type, attributes.values()))
    )
