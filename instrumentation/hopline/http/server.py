"""HTTP server telemetry: what an instrumentor has (`ServerTelemetry`) and what one request has (`ServerCall`).

A room for a server interface says when a request begins, is answered and ends; everything that is told of it, and
the context that it is served in, is made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from time import perf_counter_ns, time_ns
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.semconv.attributes.code_attributes import CODE_FUNCTION_NAME
from opentelemetry.semconv.attributes.http_attributes import HTTP_ROUTE
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from hopline._errors import error_type_of
from hopline._extraction import Extraction
from hopline._guard import guard
from hopline._serving import Serving
from hopline._suppression import is_suppressed
from hopline._version import __version__
from hopline.context import current
from hopline.frameworks import NOTES, Notes
from hopline.http import access_log
from hopline.http.attributes import SCHEMA_URL, known
from hopline.http.config import HttpConfig
from hopline.http.forwarded import Forwarded, forwarded
from hopline.http.redaction import description_of, record_exception
from hopline.http.series import Value
from hopline.http.server_attributes import CLOSE_CODE, INTERFACE, Ending, ServerOperations
from hopline.http.server_instruments import ServerInstruments
from hopline.http.server_request import FieldGetter, ServerRequest
from hopline.http.spans import spans_of
from hopline.request_id import REQUEST_ID

SERVER_CALL = "hopline.server.call"
"""Where the call is kept, in the request's OpenTelemetry context and in its ``environ`` or ``scope``."""

_NOT_FORWARDED = Forwarded()


class ServerTelemetry:
    """What the instrumentor of one server interface tells, and how.

    Args:
        interface: ``wsgi``, ``asgi`` or ``aiohttp_server``.
        config: how to tell it.
        tracer_provider: makes the tracer (default: the global one).
        meter_provider: makes the instruments (default: the global one).

    Attributes:
        active: the requests that are being served; connections, such as WebSockets, are not among them.
    """

    __slots__ = ("_extraction", "_getter", "active", "config", "instruments", "interface", "operations", "spans")

    def __init__(
        self,
        interface: str,
        config: HttpConfig,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        name = f"hopline.{interface}"
        self.config = config
        self.operations = ServerOperations(config.words)
        tracer = get_tracer(name, __version__, tracer_provider, schema_url=SCHEMA_URL)
        self.spans = spans_of(tracer, SpanKind.SERVER)
        meter = get_meter(name, __version__, meter_provider, schema_url=SCHEMA_URL)
        self.active: set[ServerCall] = set()
        self.instruments = ServerInstruments(meter, config, self._active_attributes)
        self.interface = interface
        self._extraction = Extraction()
        self._getter = FieldGetter()

    def start(
        self, request: ServerRequest, raw: Any, kept: MutableMapping[str, Any] | None = None
    ) -> ServerCall | None:
        """Begin a request: its span, unless its URL is excluded, and the context to serve it in.

        Args:
            request: what came in.
            raw: the interface's own request (``environ``, ``scope``), which hooks get.
            kept: where the call is kept as long as the request goes from hand to hand (default: in ``raw``).

        Returns:
            The call, or None if there is nothing to do: instrumentation is suppressed, or the request is being told
            of already, for its application is wrapped twice.
        """
        kept = raw if kept is None else kept
        around = otel_context.get_current()
        if call_of(kept) is not None or (around and _is_left_alone(around)):
            return None
        kept[SERVER_CALL] = call = ServerCall(self, request)
        kept[NOTES] = Notes()
        if around and _has_server_span(around):
            # Another instrumentation's: it is the request's one SERVER span. All else is still ours to do.
            context = self._extraction.request_id(request, self._getter, around)
        else:
            context = call.tell(self._extraction.context(request, self._getter), raw)
        call.serving = Serving(context)
        return call

    def _active_attributes(self) -> list[Mapping[str, Value]]:
        return [call.operation.active for call in list(self.active)]


class ServerCall:
    """One request while it is served; its methods are called in one of the steps of ``serving``.

    Attributes:
        operation: what is asked for.
        serving: the request's context, to be entered for each step of serving it.
        span: its SERVER span; None if it has none.
        status: the status code of the response, once it has begun.
        route: the route that was taken, for instance ``/items/{id}``, if it becomes known.
        function: the fully-qualified name of the view that answers, if it becomes known.
        is_connection: whether it is a connection that stays, such as a WebSocket: of that no duration is measured.
        ended: whether the call has ended; what is said of it later is not heard.
    """

    __slots__ = (
        "_clock",
        "_first_id",
        "_is_logged",
        "_proxied",
        "_request",
        "_start",
        "_telemetry",
        "ended",
        "function",
        "is_connection",
        "operation",
        "route",
        "serving",
        "span",
        "status",
    )

    serving: Serving

    def __init__(self, telemetry: ServerTelemetry, request: ServerRequest) -> None:
        self._telemetry = telemetry
        self._request = request
        self._proxied = forwarded(request) if telemetry.config.trust_forwarded else _NOT_FORWARDED
        self.operation = telemetry.operations.of(request.method, self._proxied.scheme or request.scheme)
        self._is_logged = True
        self._first_id = ""
        self._start, self._clock = time_ns(), perf_counter_ns()
        self.span: Span | None = None
        self.status: int | None = None
        self.route: str | None = None
        self.function: str | None = None
        self.is_connection = self.operation.is_connection
        self.ended = False

    def __deepcopy__(self, _memo: object) -> ServerCall:
        """Be the same call in a deep copy of its ``scope``, which an application may make."""
        return self

    def tell(self, context: Context, raw: object) -> Context:
        """Start the span, and count the request as active, unless its URL is excluded.

        Args:
            context: what was extracted.
            raw: the interface's own request, for the hook.

        Returns:
            The context to serve the request in.
        """
        telemetry, config, request = self._telemetry, self._telemetry.config, self._request
        if config.excluded is not None and config.excluded.search(self._url()) is not None:
            self._is_logged = False
            return context
        attributes: dict[str, Any] = telemetry.operations.attributes(self.operation, request, self._proxied)
        attributes[INTERFACE] = telemetry.interface
        attributes[REQUEST_ID] = self._first_id = _request_id(context)
        if config.request_headers is not None:
            attributes.update(config.request_headers.of_fields(request.fields()))
        self.span = span = telemetry.spans.start(self.operation.span_name, context, attributes, self._start)
        context = otel_context.set_value(SERVER_CALL, self, set_span_in_context(span, context))
        if not self.is_connection:
            telemetry.active.add(self)
        if config.request_hook is not None:
            guard(config.request_hook, span, raw)
        return context

    def respond(
        self, status: int | None, fields: Iterable[tuple[str, str]], hook_arguments: tuple[object, ...]
    ) -> None:
        """Note that the response begins; if the application begins it anew, the last time counts.

        Args:
            status: its status code.
            fields: its header: names and values.
            hook_arguments: what the response hook gets after the span.
        """
        self.status = status
        span, config = self.span, self._telemetry.config
        if span is None or self.ended:
            return
        if config.response_headers is not None and span.is_recording():
            span.set_attributes(config.response_headers.of_fields(fields))
        if config.response_hook is not None:
            guard(config.response_hook, span, *hook_arguments)

    def note_close(self, code: int) -> None:
        """Note the code that a WebSocket connection was closed with."""
        if self.span is not None:
            self.span.set_attribute(CLOSE_CODE, code)

    def finish(self, length: int | None, outcome: str | None = None) -> None:
        """End the call without an error of the application.

        Args:
            length: how many bytes of body were sent, if known.
            outcome: why there may be no full response, if nobody is to blame: ``disconnected``, ``cancelled``.
        """
        self._end(None, length, outcome)

    def fail(self, error: BaseException, length: int | None) -> None:
        """End the call with an exception that the application raised, which may come after a response has begun."""
        self._end(error, length, None)

    def _end(self, error: BaseException | None, length: int | None, outcome: str | None) -> None:
        if self.ended:
            return
        self.ended = True
        duration = perf_counter_ns() - self._clock
        if self.span is not None:
            self._end_span(self.span, duration, error, outcome)
        if self._is_logged and access_log.is_wanted():
            self._log(duration, length)
        self.serving.end()
        # Both lead back here: what a request has held need not wait for the garbage collector.
        del self.serving, self._request

    def _end_span(self, span: Span, duration: int, error: BaseException | None, outcome: str | None) -> None:
        operation = self.operation
        route = self.route or _route_of(span)
        error_type = None if error is None else error_type_of(error)
        told = operation.outcome(Ending(self.status, self._request.version, route, error_type, outcome))
        if span.is_recording():
            more = known({CODE_FUNCTION_NAME: self.function, **self._new_id()})
            self._telemetry.spans.add(span, {**told.span_attributes, **more})
            if told.is_error:
                span.set_status(StatusCode.ERROR, None if error is None else description_of(error))
            if error is not None:
                record_exception(span, error)
            if route is not None and getattr(span, "name", None) == operation.span_name:
                span.update_name(f"{operation.span_name} {route}")
        span.end(self._start + duration)
        self._telemetry.active.discard(self)
        if not self.is_connection:
            self._telemetry.instruments.record(duration, told, otel_context.get_current())

    def _new_id(self) -> dict[str, str]:
        """The request id, if the application has changed it."""
        now = _request_id()
        return {} if now == self._first_id else {REQUEST_ID: now}

    def _log(self, duration: int, length: int | None) -> None:
        fields = {
            "method": self.operation.method,
            "path": self._request.path,
            "status": self.status,
            "duration_ms": round(duration / 1e6, 3),
            "length": length,
            "request_id": _request_id(),
        }
        access_log.log_request(fields, self.serving.totals())

    def _url(self) -> str:
        host = self._proxied.host or self._request.value("host")
        return f"{self._proxied.scheme or self._request.scheme}://{host}{self._request.path}"


def call_of(raw: Mapping[str, Any]) -> ServerCall | None:
    """The call that tells of the request ``raw`` (an ``environ`` or ``scope``), until it has ended; else None."""
    call = raw.get(SERVER_CALL)
    return call if isinstance(call, ServerCall) and not call.ended else None


def _request_id(context: Context | None = None) -> str:
    state = current(context)
    return "" if state is None or state.request_id is None else state.request_id


def _is_left_alone(around: Context) -> bool:
    if is_suppressed(around):
        return True
    call = around.get(SERVER_CALL)
    # A request made from within another in the same process has a client's span around it, or none; the same request
    # that comes a second way, such as WSGI in ASGI, has the call's own.
    return isinstance(call, ServerCall) and not call.ended and get_current_span(around) is call.span


def _has_server_span(around: Context) -> bool:
    span = get_current_span(around)
    return span.is_recording() and getattr(span, "kind", None) is SpanKind.SERVER


def _route_of(span: Span) -> str | None:
    """The route that the application, or another instrumentation, has set on the span itself."""
    attributes = getattr(span, "attributes", None)
    route = None if attributes is None else attributes.get(HTTP_ROUTE)
    return route if isinstance(route, str) else None
