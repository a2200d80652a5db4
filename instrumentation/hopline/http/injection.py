"""What goes out with a request: the fields of the global propagator, made on the shortest way."""

from __future__ import annotations

from collections.abc import Iterator
from os import environ

from opentelemetry.context import Context
from opentelemetry.environment_variables import OTEL_PROPAGATORS
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import DEFAULT_TRACE_STATE, Span, SpanContext, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline._guard import guard
from hopline.context import current
from hopline.propagators import DeadlinePropagator, RequestIdPropagator
from hopline.request_id import HEADER, hop_of

_FLAGS = tuple(f"{flags:02x}" for flags in range(256))


class Injection:
    """What ``propagator`` injects into a request's header, and the request id where it does not.

    A composite propagator is taken apart. Those of its parts that most processes use read the span and the request's
    state once between them, which takes half of the time that their own ``inject`` take one after the other; any
    other part injects by itself.

    Args:
        propagator: the global propagator.

    Attributes:
        propagator: the same.
        fields: the lower-case names of all header fields that may be set.
    """

    __slots__ = ("_deadline", "_others", "_request_id", "_trace", "fields", "propagator")

    def __init__(self, propagator: TextMapPropagator) -> None:
        self.propagator = propagator
        self.fields = frozenset(field.lower() for field in (*propagator.fields, HEADER))
        self._trace = False
        self._request_id: RequestIdPropagator | None = None
        self._deadline: DeadlinePropagator | None = None
        self._others: list[TextMapPropagator] = []
        for part in _parts(propagator):
            self._take(part)
        # Where the user has said which propagators there are, or one sets the header, it is their affair.
        if self._request_id is None and HEADER not in propagator.fields and not environ.get(OTEL_PROPAGATORS):
            self._request_id = RequestIdPropagator()

    def values(self, context: Context, span: Span) -> tuple[dict[str, str], str | None]:
        """The header fields that ``context`` is carried by, and the request id that holds in it.

        Args:
            context: what is carried.
            span: the span that is current in it.
        """
        fields: dict[str, str] = {}
        # A span context is a tuple: to take it apart saves a call for each of its properties, 1 µs together.
        sent = span.get_span_context()
        trace_id, span_id, _, flags, trace_state, _ = sent if type(sent) is SpanContext else _taken_apart(sent)
        hop = hop_of(span_id)
        if self._trace and hop and trace_id:
            # W3C Trace Context, version 00. With % and a table 0.1 µs less than with format specifiers.
            fields["traceparent"] = f"00-{'%032x' % trace_id}-{hop}-{_FLAGS[flags & 0xFF]}"  # noqa: UP031
            if trace_state is not DEFAULT_TRACE_STATE and trace_state:
                fields["tracestate"] = trace_state.to_header()
        for other in self._others:
            guard(other.inject, fields, context)
        state = current(context)
        request_id = None if state is None else state.request_id
        if self._request_id is not None and HEADER not in fields:
            fields[HEADER] = self._request_id.outgoing(request_id, hop)
        if self._deadline is not None and state is not None and state.deadline is not None:
            self._deadline.inject(fields, context)
        return fields, request_id

    def _take(self, part: TextMapPropagator) -> None:
        # Of these classes only: a subclass may do as it likes.
        if type(part) is TraceContextTextMapPropagator:
            self._trace = True
        elif type(part) is RequestIdPropagator:
            self._request_id = part
        elif type(part) is DeadlinePropagator:
            self._deadline = part
        else:
            self._others.append(part)


def _taken_apart(sent: SpanContext) -> tuple[int, int, bool, int, TraceState, bool]:
    return sent.trace_id, sent.span_id, sent.is_remote, sent.trace_flags, sent.trace_state, sent.is_valid


def _parts(propagator: TextMapPropagator) -> Iterator[TextMapPropagator]:
    parts = getattr(propagator, "_propagators", None) if type(propagator) is CompositePropagator else None
    if parts is None:
        yield propagator
        return
    for part in parts:
        yield from _parts(part)
