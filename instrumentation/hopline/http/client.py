"""HTTP client telemetry: what an instrumentor has (`ClientTelemetry`) and what one call has (`ClientCall`).

A library room says when a call starts, is sent again and ends. One call may put several requests on the wire
(redirects, retries, authentication); each is an attempt with a span of its own, siblings under the caller's span.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter_ns, time_ns
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as _SUPPRESS_HTTP
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESS
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer, set_span_in_context

from hopline._guard import guard
from hopline._version import __version__
from hopline.context import completed
from hopline.destinations import Destinations
from hopline.http.attributes import (
    HTTP_REQUEST_RESEND_COUNT,
    REQUEST_ID,
    SCHEMA_URL,
    URL_FULL,
    Operation,
    error_type_of,
)
from hopline.http.config import HttpConfig
from hopline.http.headers import Headers, place
from hopline.http.instruments import ClientInstruments
from hopline.http.redaction import redact_query, redact_url
from hopline.request_id import HEADER

_SUPPRESS_PLAIN = "suppress_instrumentation"  # the key's name in older releases, still set by some
_MAX_DESCRIPTION = 256


class ClientTelemetry:
    """What one HTTP client instrumentor tells, and how.

    Args:
        scope: the name of its instrumentation scope, for instance ``hopline.requests``.
        config: how to tell it.
        tracer_provider: makes the tracer (default: the global one).
        meter_provider: makes the instruments (default: the global one).
    """

    __slots__ = ("_fields", "_propagator", "config", "destinations", "instruments", "tracer")

    def __init__(
        self,
        scope: str,
        config: HttpConfig,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.config = config
        self.destinations = Destinations()
        self.tracer = get_tracer(scope, __version__, tracer_provider, schema_url=SCHEMA_URL)
        meter = get_meter(scope, __version__, meter_provider, schema_url=SCHEMA_URL)
        self.instruments = ClientInstruments(meter, config)
        self._propagator: TextMapPropagator | None = None
        self._fields: frozenset[str] = frozenset()

    def start(self, method: str, url: str, headers: Headers, request: object) -> ClientCall | None:
        """Start a call: its span starts and ``headers`` get what is propagated.

        Args:
            method: the request's method.
            url: the absolute URL.
            headers: the header that will be sent, changed in place.
            request: the library's own request, for the hooks.

        Returns:
            The call, or None if there is nothing to tell: instrumentation is suppressed, or the URL excluded (then
            ids are propagated all the same).
        """
        context = otel_context.get_current()
        if context and _is_suppressed(context):
            return None
        if self.excludes(url):
            self.inject(headers, context)
            return None
        call = ClientCall(self, context)
        call.begin(method, url, headers, request)
        return call

    def excludes(self, url: str) -> bool:
        """Whether ``url`` is one that gets no span."""
        excluded = self.config.excluded
        return excluded is not None and excluded.search(url) is not None

    def inject(self, headers: Headers, context: Context) -> str | None:
        """Put what is propagated into ``headers``.

        Returns:
            The request id that will be sent: ours, or the one that the user set; None without any.
        """
        propagator = get_global_textmap()
        if propagator is not self._propagator:
            self._propagator = propagator
            self._fields = frozenset(field.lower() for field in propagator.fields)
        carrier: dict[str, str] = {}
        guard(propagator.inject, carrier, context)
        place(carrier, self._fields, headers)
        return headers.get(HEADER)


class ClientCall:
    """One call of the application, and the attempt that is on the wire.

    Attributes:
        context: the context to be current while the attempt lasts: the span is current in it, and other
            instrumentations of HTTP are suppressed.
        owner: for the library room's use: what makes the call.
        answer: for the library room's use: the library's response to the attempt, once there is one.
    """

    __slots__ = (
        "_clock",
        "_duration",
        "_operation",
        "_parent",
        "_request",
        "_resends",
        "_span",
        "_start",
        "_telemetry",
        "answer",
        "context",
        "owner",
    )

    context: Context
    _operation: Operation
    _request: object
    _span: Span | None

    def __init__(self, telemetry: ClientTelemetry, parent: Context) -> None:
        self._telemetry = telemetry
        self._resends = 0
        self.owner: object = None
        self.answer: Any = None
        self._parent = completed(parent)

    def begin(self, method: str, url: str, headers: Headers, request: object) -> None:
        """Begin an attempt; the arguments are those of :meth:`ClientTelemetry.start`."""
        telemetry, config = self._telemetry, self._telemetry.config
        self._request = request
        self._duration = -1
        self._operation = config.words.operation(method, telemetry.destinations.of(url))
        attributes: dict[str, Any] = dict(self._operation.attributes)
        attributes.update(config.words.spoken({URL_FULL: redact_url(url)}))
        if self._resends:
            attributes[HTTP_REQUEST_RESEND_COUNT] = self._resends
        if config.request_headers is not None:
            attributes.update(config.request_headers.attributes(headers))
        self._start, self._clock = time_ns(), perf_counter_ns()
        span = telemetry.tracer.start_span(
            self._operation.span_name, self._parent, SpanKind.CLIENT, attributes, start_time=self._start
        )
        self._span = span
        self.context = otel_context.set_value(_SUPPRESS_HTTP, self, set_span_in_context(span, self._parent))
        if config.request_hook is not None:
            guard(config.request_hook, span, request)
        sent = telemetry.inject(headers, self.context)
        if sent is not None:
            span.set_attribute(REQUEST_ID, sent)

    def resend(self, method: str, url: str, headers: Headers, request: object) -> None:
        """Begin the next attempt of the same call; the one before must have ended."""
        self._resends += 1
        if self._telemetry.excludes(url):
            self.context = otel_context.set_value(_SUPPRESS_HTTP, self, self._parent)
            self._telemetry.inject(headers, self._parent)
        else:
            self.begin(method, url, headers, request)

    def stop(self) -> None:
        """Stop the attempt's clock: it is over, though how it is told may still depend on what follows."""
        if self._duration < 0:
            self._duration = perf_counter_ns() - self._clock

    def finish(self, status: int | None, version: str | None, headers: Mapping[str, str], response: object) -> None:
        """End the attempt with a response.

        Args:
            status: its status code; None if the library has made up a response without one.
            version: its protocol version, for instance ``1.1``, if known.
            headers: its header.
            response: the library's own response, for the hook.
        """
        span, config = self._span, self._telemetry.config
        if span is None:
            return
        self.stop()
        if config.response_headers is not None and span.is_recording():
            span.set_attributes(config.response_headers.attributes(headers))
        if config.response_hook is not None:
            guard(config.response_hook, span, self._request, response)
        self._end(span, status, version, None)

    def fail(self, error: BaseException, status: int | None = None, version: str | None = None) -> None:
        """End the attempt with an exception, which may come after a response.

        Args:
            error: what the application will get.
            status: the response's status code, if there was one.
            version: the response's protocol version, if known.
        """
        span = self._span
        if span is None:
            return
        self.stop()
        self._end(span, status, version, error)

    def _end(self, span: Span, status: int | None, version: str | None, error: BaseException | None) -> None:
        self._span = None
        outcome = self._operation.outcome(status, version, None if error is None else error_type_of(error))
        if span.is_recording():
            for name, value in outcome.span_attributes:
                span.set_attribute(name, value)
            if outcome.is_error:
                span.set_status(StatusCode.ERROR, None if error is None else _description(error))
        span.end(self._start + self._duration)
        self._telemetry.instruments.record(self._duration, outcome, self.context)


def ongoing_call() -> ClientCall | None:
    """The call of ours whose attempt is current here, or None."""
    marker = otel_context.get_current().get(_SUPPRESS_HTTP)
    return marker if type(marker) is ClientCall else None


def _is_suppressed(context: Context) -> bool:
    if context.get(_SUPPRESS) or context.get(_SUPPRESS_PLAIN):
        return True
    marker = context.get(_SUPPRESS_HTTP)
    # A call of ours suppresses the instrumentations below it, not another call that is made while it lasts,
    # such as one that fetches a token.
    return bool(marker) and type(marker) is not ClientCall


def _description(error: BaseException) -> str:
    return redact_query(str(error))[:_MAX_DESCRIPTION]
