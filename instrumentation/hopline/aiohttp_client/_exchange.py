"""One request of an aiohttp session, and what its signals say: the thing that hangs on ``trace_config_ctx``.

Nothing of it is attached to the task's context: what aiohttp awaits may be left in any place, by cancellation for
one, and a context that is attached across that could not be restored.
"""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiohttp import (
    ClientConnectionError,
    ClientResponse,
    HttpVersion11,
    TraceRequestEndParams,
    TraceRequestExceptionParams,
    TraceRequestStartParams,
)
from opentelemetry.context import get_current

from hopline._guard import guard
from hopline.aiohttp_client._bodies import Download
from hopline.aiohttp_client._progress import Progress
from hopline.http.attributes import Outcome
from hopline.http.call import ClientCall
from hopline.http.client import ClientTelemetry
from hopline.http.headers import Injected
from hopline.request_id import HEADER, REQUEST_ID

if TYPE_CHECKING:
    from aiohttp import ClientRequest
    from aiohttp.tracing import (
        TraceRequestChunkSentParams,
        TraceRequestHeadersSentParams,
        TraceRequestRedirectParams,
        TraceResponseChunkReceivedParams,
    )
    from multidict import CIMultiDict

_SWITCHING_PROTOCOLS = 101  # to a WebSocket, which is no body
_GIVEN_UP = (CancelledError, GeneratorExit)


class Exchange(SimpleNamespace):
    """One request of a session: the call, and how far its attempt has come.

    Args:
        trace_request_ctx: what the application gave with the request; a mapping may name the ``url_template``.
        telemetry: what it is told to, or None to tell nothing.

    Attributes:
        trace_request_ctx: what the application gave with the request, for receivers of its own.
        call: the call, while there is one to tell of.
        progress: how far its attempt has come.
    """

    # What is not given stands on the class: making an exchange calls no Python.
    telemetry: ClientTelemetry | None = None
    trace_request_ctx: Any = None
    call: ClientCall | None = None
    progress: Progress | None = None
    _asked = False
    _download: Download | None = None

    # The request.

    def start(self, params: TraceRequestStartParams) -> None:
        """The application has asked for a request; its header can still be changed."""
        if self.telemetry is None:
            return
        named = self.trace_request_ctx
        template = None if named is None else guard(_template, named)
        self.call = self.telemetry.start(params.method, str(params.url), params.headers, params, template)
        if self.call is not None:
            self.progress = Progress()

    def send_headers(self, params: TraceRequestHeadersSentParams) -> None:
        """The header, which is complete now, is about to be written."""
        if self.call is not None:
            self.call.headers_sent(params.headers)

    def send_chunk(self, params: TraceRequestChunkSentParams) -> None:
        """A part of the body is about to be written."""
        if self.progress is not None:
            chunk: Any = params.chunk  # of a memoryview the length is not that in bytes
            self.progress.sent += chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)

    def redirect(self, params: TraceRequestRedirectParams) -> None:
        """The response is a redirect that aiohttp follows, unless it finds a reason not to."""
        if self.call is not None and self.progress is not None:
            self.call.stop(self.progress.over)

    def end(self, params: TraceRequestEndParams) -> None:
        """The application gets its response."""
        call = self.call
        if call is None:
            return
        outcome = self._finish(call, params)
        self.call = None
        if outcome is not None:
            self._measure_body(call, outcome, params.response)

    def fail(self, params: TraceRequestExceptionParams) -> None:
        """The application gets an exception."""
        if self.call is not None:
            self._fail(self.call, params)
            self.call = None

    def receive(self, params: TraceResponseChunkReceivedParams) -> None:
        """The application has the whole body, by ``read()``."""
        if self._download is not None:
            self._download.read(len(params.chunk))

    # What aiohttp has no signal for.

    def prepare(self, request: ClientRequest, *, keep: bool) -> None:
        """A middleware is about to see ``request``, or the last has passed it on; after an attempt the next begins.

        Args:
            request: the request.
            keep: whether its header stays as it is, with what the attempt before has put there.
        """
        if not self._asked and (self.progress is None or self.progress.over is None):
            return
        self._asked = False
        if not keep:
            self._begin_again(request, request.headers)
            return
        self._begin_again(request, request.headers.copy())
        if self.call is not None and HEADER in request.headers:
            self.call.details[REQUEST_ID] = request.headers[HEADER]

    def ask(self, request: ClientRequest) -> None:
        """A connection is asked for, to send ``request``: once for each attempt."""
        if self._asked:
            self._begin_again(request, request.headers)
            return
        self._asked = True
        self._note_query(request)

    def _note_query(self, request: ClientRequest) -> None:
        call = self.call
        if call is not None and "?" in call.url and request.url.raw_query_string != call.request.url.raw_query_string:
            # A parameter of a name that the URL has too: aiohttp sends both, its signal tells of one.
            call.url_changed(str(request.url))

    def _begin_again(self, request: ClientRequest, headers: CIMultiDict[str]) -> None:
        if self.call is not None:
            self._conclude(self.call)
            params = TraceRequestStartParams(request.method, request.url, headers)
            self.call.resend(request.method, str(request.url), headers, params)
            self.progress = Progress()
        elif self.telemetry is not None and any(type(value) is Injected for value in headers.values()):
            # Begun with an excluded URL: who may have our headers is still decided at each hop.
            self.telemetry.inject_excluded(str(request.url), headers, get_current())

    def answer(self, response: ClientResponse) -> None:
        """The response's header is here."""
        progress = self.progress
        if self.call is not None and progress is not None:
            progress.response = response
            progress.over = perf_counter_ns()
            self.call.headers_arrived()

    def break_off(self, error: BaseException) -> None:
        """No header came. The application may still get one: aiohttp, or a middleware, may try again.

        Args:
            error: what came instead; on its way to the application aiohttp may make another of it, and tell that too.
        """
        if self.progress is not None:
            self.progress.break_off(error)

    def _conclude(self, call: ClientCall) -> None:
        """End an attempt that another one follows."""
        progress = self.progress or Progress()
        response, error = progress.response, progress.error
        call.stop(progress.over)
        method, url, headers = call.request.method, call.request.url, call.request.headers
        if response is not None:
            self._finish(call, TraceRequestEndParams(method, url, headers, response))
        else:
            error = error or ClientConnectionError("the request could not be sent")
            self._fail(call, TraceRequestExceptionParams(method, url, headers, error))

    def _finish(self, call: ClientCall, params: TraceRequestEndParams) -> Outcome | None:
        self._tell_progress(call)
        response = params.response
        return call.finish(response.status, _version(response), response.headers, params)

    def _fail(self, call: ClientCall, params: TraceRequestExceptionParams) -> None:
        progress = self.progress or Progress()
        response, error = progress.response, params.exception
        gave_up = isinstance(error, _GIVEN_UP)
        if gave_up:
            # What the attempt had come to before stays.
            error = progress.error or error
        call.stop(progress.over)
        self._tell_progress(call)
        call.tell_hook(params)
        if response is not None and gave_up:
            call.finish(response.status, _version(response), response.headers)
        elif response is not None:
            call.fail(error, response.status, _version(response))
        elif isinstance(error, _GIVEN_UP):
            call.cancel()
        else:
            call.fail(error)

    def _tell_progress(self, call: ClientCall) -> None:
        if self.progress is not None:
            self.progress.tell(call.details)
            call.sizes = (self.progress.sent, None)

    def _measure_body(self, call: ClientCall, outcome: Outcome, response: ClientResponse) -> None:
        instruments, connection = call.telemetry.instruments, response.connection
        is_measured = connection is not None or call.telemetry.config.body_sizes
        if is_measured and response.status != _SWITCHING_PROTOCOLS and instruments.are_read():
            self._download = Download(response, outcome, instruments)
            self._download.watch(connection)

    def __del__(self) -> None:
        # A receiver that comes after ours has stopped the request before aiohttp began it, and aiohttp, before 3.14,
        # sends no signal then.
        if self.call is not None:
            guard(_give_up, self.call)


def exchange_of(traces: Any) -> Exchange | None:
    """The exchange among aiohttp's own ``Trace`` objects of a request, or None."""
    for trace in reversed(traces):
        context = trace._trace_config_ctx
        if type(context) is Exchange:
            return context
    return None


def _give_up(call: ClientCall) -> None:
    call.stop()
    call.telemetry.active.discard(call)
    with suppress(RuntimeError):  # no loop runs in this thread any more: the span is lost, as one that never ends
        # Not at once: where garbage is collected, a lock of the SDK's may be held.
        get_running_loop().call_soon(guard, call.cancel)


def _template(trace_request_ctx: object) -> str | None:
    template = trace_request_ctx.get("url_template") if isinstance(trace_request_ctx, Mapping) else None
    return template if isinstance(template, str) else None


def _version(response: ClientResponse) -> str | None:
    version = response.version
    if version is HttpVersion11:
        return "1.1"
    return None if version is None else f"{version.major}.{version.minor}"
