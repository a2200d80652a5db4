"""One request of an aiohttp session, and what its signals say: the thing that hangs on ``trace_config_ctx``.

Nothing of it is attached to the task's context: what aiohttp awaits may be left in any place, by cancellation for
one, and a context that is attached across that could not be restored.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiohttp import (
    ClientConnectionError,
    ClientResponse,
    TraceRequestEndParams,
    TraceRequestExceptionParams,
    TraceRequestStartParams,
)
from opentelemetry.context import get_current

from hopline.aiohttp_client._bodies import Download
from hopline.aiohttp_client._progress import Progress
from hopline.http.attributes import (
    CONNECTION_REUSED,
    DNS_CACHE_HIT,
    PHASE_CONNECT,
    PHASE_DNS,
    PHASE_QUEUE,
    Outcome,
)
from hopline.http.call import ClientCall
from hopline.http.client import ClientTelemetry
from hopline.http.headers import Injected

if TYPE_CHECKING:
    from aiohttp import ClientRequest
    from aiohttp.tracing import (
        TraceRequestChunkSentParams,
        TraceRequestHeadersSentParams,
        TraceRequestRedirectParams,
        TraceResponseChunkReceivedParams,
    )

_SWITCHING_PROTOCOLS = 101  # to a WebSocket, which is no body
_GIVEN_UP = (CancelledError, GeneratorExit)


class Exchange(SimpleNamespace):
    """One request of a session: the call, and how far its attempt has come.

    Args:
        telemetry: what it is told to, or None to tell nothing.
        trace_request_ctx: what the application gave with the request; a mapping may name the ``url_template``.

    Attributes:
        trace_request_ctx: what the application gave with the request, for receivers of its own.
    """

    def __init__(self, telemetry: ClientTelemetry | None, trace_request_ctx: Any) -> None:
        super().__init__(trace_request_ctx=trace_request_ctx)
        self._telemetry = telemetry
        self._asked = False
        self.call: ClientCall | None = None
        self._progress = Progress({})
        self._download: Download | None = None

    # The request.

    def start(self, params: TraceRequestStartParams) -> None:
        """The application has asked for a request; its header can still be changed."""
        if self._telemetry is None:
            return
        template = _template(self.trace_request_ctx)
        self.call = self._telemetry.start(params.method, str(params.url), params.headers, params, template)
        if self.call is not None:
            self._progress = Progress(self.call.details)

    def send_headers(self, params: TraceRequestHeadersSentParams) -> None:
        """The header, which is complete now, is about to be written."""
        if self.call is not None:
            self.call.headers_sent(params.headers)

    def send_chunk(self, params: TraceRequestChunkSentParams) -> None:
        """A part of the body is about to be written."""
        self._progress.sent += len(params.chunk)

    def redirect(self, params: TraceRequestRedirectParams) -> None:
        """The response is a redirect that aiohttp follows, unless it finds a reason not to."""
        if self.call is not None:
            self.call.stop()

    def end(self, params: TraceRequestEndParams) -> None:
        """The application gets its response."""
        call = self.call
        outcome = None if call is None else self._finish(call, params)
        if call is not None and outcome is not None:
            self._measure_body(call, outcome, params.response)

    def fail(self, params: TraceRequestExceptionParams) -> None:
        """The application gets an exception."""
        if self.call is not None:
            self._fail(self.call, params)

    def receive(self, params: TraceResponseChunkReceivedParams) -> None:
        """The application has the whole body, by ``read()``."""
        if self._download is not None:
            self._download.read(len(params.chunk))

    # The connection.

    def queue(self, params: object) -> None:
        """No connection is free."""
        self._progress.begin(PHASE_QUEUE)

    def leave_queue(self, params: object) -> None:
        """A connection is free."""
        self._progress.end(PHASE_QUEUE)

    def connect(self, params: object) -> None:
        """A connection is being made."""
        self._progress.begin(PHASE_CONNECT)

    def connected(self, params: object) -> None:
        """The connection is made, TLS included."""
        self._progress.end(PHASE_CONNECT)
        self._progress.details[CONNECTION_REUSED] = False

    def reuse(self, params: object) -> None:
        """A connection of the pool is used."""
        self._progress.details[CONNECTION_REUSED] = True

    def resolve(self, params: object) -> None:
        """The resolver is asked."""
        self._progress.begin(PHASE_DNS)

    def resolved(self, params: object) -> None:
        """The resolver has answered."""
        self._progress.end(PHASE_DNS)

    def find_in_cache(self, params: object) -> None:
        """The connector knows the addresses, or is about to, for a request before this one."""
        self._progress.details[DNS_CACHE_HIT] = True

    def miss_in_cache(self, params: object) -> None:
        """The connector does not know the addresses."""
        self._progress.details[DNS_CACHE_HIT] = False

    # What aiohttp has no signal for.

    def ask(self, request: ClientRequest) -> None:
        """A connection is asked for, to send ``request``: once for each attempt."""
        if not self._asked:
            self._asked = True
        elif self.call is not None:
            self._conclude(self.call)
            params = TraceRequestStartParams(request.method, request.url, request.headers)
            self.call.resend(request.method, str(request.url), request.headers, params)
            self._progress = Progress(self.call.details)
        elif self._telemetry is not None and any(type(value) is Injected for value in request.headers.values()):
            # Begun with an excluded URL: who may have our headers is still decided at each hop.
            self._telemetry.inject_excluded(str(request.url), request.headers, get_current())

    def answer(self, response: ClientResponse) -> None:
        """The response's header is here."""
        self._progress.response = response
        self._progress.set_over()
        if self.call is not None:
            self.call.headers_arrived()

    def break_off(self, error: BaseException) -> None:
        """No header came. The application may still get one: aiohttp, or a middleware, may try again."""
        self._progress.error = error
        self._progress.set_over()

    def _conclude(self, call: ClientCall) -> None:
        """End an attempt that another one follows."""
        progress = self._progress
        call.stop(progress.over)
        method, url, headers = call.request.method, call.request.url, call.request.headers
        if progress.response is not None:
            self._finish(call, TraceRequestEndParams(method, url, headers, progress.response))
        else:
            error = progress.error or ClientConnectionError("the request could not be sent")
            self._fail(call, TraceRequestExceptionParams(method, url, headers, error))

    def _finish(self, call: ClientCall, params: TraceRequestEndParams) -> Outcome | None:
        response = params.response
        call.sizes = (self._progress.sent, None)
        self._progress.forget()
        return call.finish(response.status, _version(response), response.headers, params)

    def _measure_body(self, call: ClientCall, outcome: Outcome, response: ClientResponse) -> None:
        instruments, connection = call.telemetry.instruments, response.connection
        is_measured = connection is not None or call.telemetry.config.body_sizes
        if is_measured and response.status != _SWITCHING_PROTOCOLS and instruments.are_read():
            self._download = Download(response, outcome, instruments)
            self._download.watch(connection)

    def _fail(self, call: ClientCall, params: TraceRequestExceptionParams) -> None:
        self._progress.end_all()
        call.sizes = (self._progress.sent, None)
        call.tell_hook(params)
        response = self._progress.response
        self._progress.forget()
        if isinstance(params.exception, _GIVEN_UP):
            call.cancel()
        elif response is None:
            call.fail(params.exception)
        else:
            call.fail(params.exception, response.status, _version(response))


def exchange_of(traces: Any) -> Exchange | None:
    """The exchange among aiohttp's own ``Trace`` objects of a request, or None."""
    for trace in reversed(traces):
        context = trace._trace_config_ctx
        if type(context) is Exchange:
            return context
    return None


def _template(trace_request_ctx: object) -> str | None:
    template = trace_request_ctx.get("url_template") if isinstance(trace_request_ctx, Mapping) else None
    return template if isinstance(template, str) else None


def _version(response: ClientResponse) -> str | None:
    version = response.version
    return None if version is None else f"{version.major}.{version.minor}"
