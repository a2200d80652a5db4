"""One request and its response: between aiohttp's protocol and the handler."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hopline._guard import guard
from hopline.aiohttp_server._request import AioHttpRequest
from hopline.frameworks import name_of
from hopline.http.middleware import Telling
from hopline.http.server import ServerCall, ServerTelemetry
from hopline.request_id import HEADER

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse

    Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
    Answer = tuple[StreamResponse, bool]

# By the id of aiohttp's protocol, which serves one request at a time; the copies of a request that a middleware makes
# share it. Weak, for a loop that is dropped with requests in it goes with its sockets, as if nobody knew of them.
_exchanges: WeakValueDictionary[int, Exchange] = WeakValueDictionary()


class Exchange:
    """What happens between the server and the application for one request.

    Args:
        call: the request as it is told of.
        request: the request as the application has it.
        handler: serves it.

    Attributes:
        is_stopping: whether the server is being stopped, and cuts the request off if it takes too long.
        serving: the context that it is served in.
    """

    __slots__ = ("__weakref__", "_call", "_error", "_handler", "_request", "_response", "is_stopping", "serving")

    def __init__(self, call: ServerCall, request: BaseRequest, handler: Handler) -> None:
        self._call = call
        self._request = request
        self._handler = handler
        self._response: Any = None
        self._error: BaseException | None = None
        self.is_stopping = False
        self.serving = call.serving

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """What the server awaits in place of the handler: it, with a note of what it raises."""
        try:
            return await self._handler(request)
        except BaseException as error:
            self._error = error
            raise

    def respond(self, response: StreamResponse) -> None:
        """Note that ``response`` is about to begin, and add the request id to its header."""
        self._response = response
        # What is answered to nobody, such as an error page about the client's leaving, is no answer.
        status = self._call.status if self._is_gone() else response.status
        self._call.respond(status, response.headers.items(), (self._request, response))
        # Another task than the request's own may begin the response.
        request_id = self.serving.request_id_here
        if request_id is not None:
            response.headers.setdefault(HEADER, request_id)

    def answered(self, answer: Answer) -> None:
        """End the call with what the server has sent, and whether the client has left meanwhile."""
        self._response, is_reset = answer
        # aiohttp's own errors are responses, which a handler may raise.
        error = None if self._error is self._response else self._error
        self._end(error, "disconnected" if is_reset else None)

    def failed(self, error: BaseException) -> None:
        """End the call with what has kept the server from answering."""
        if isinstance(error, CancelledError):
            # A server that stops has hung up itself by then.
            self._end(None, "disconnected" if self._is_gone() and not self.is_stopping else "cancelled")
        else:
            self._end(error if self._error is None else self._error, None)

    def _end(self, error: BaseException | None, outcome: str | None) -> None:
        call, response = self._call, self._response
        guard(self._view)
        if isinstance(code := getattr(response, "close_code", None), int):
            call.note_close(int(code))  # of aiohttp's own, it is an enum's member
        length = 0 if self._request.method == "HEAD" else getattr(response, "content_length", None)
        if error is None:
            call.finish(length, outcome)
        elif self._is_departure(error):
            call.finish(length, "disconnected")
        else:
            call.fail(error, length)
        self._error = None  # its traceback leads back here

    def _view(self) -> None:
        match: Any = getattr(self._request, "_match_info", None)
        # A router of the application's own need not know routes.
        resource = getattr(getattr(match, "route", None), "resource", None)
        if resource is not None:
            self._call.route, self._call.function = resource.canonical, name_of(match.handler)

    def _is_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _is_departure(self, error: BaseException) -> bool:
        """Whether ``error`` says no more than that the client has left, while something was read or written."""
        if not self._is_gone():
            return False
        return error is self._request.content.exception() or (
            isinstance(error, ConnectionError) and error.errno is None  # aiohttp's own, not that of another connection
        )


def serving(telling: Telling) -> Callable[..., Awaitable[Answer]]:
    """Make the wrapper of what serves one request, in a task of its own: handler, response and access log."""

    async def handle_request(
        wrapped: Callable[..., Awaitable[Answer]], protocol: object, args: Any, kwargs: Any
    ) -> Answer:
        telemetry = telling.telemetry
        exchange = None if telemetry is None else guard(_begin, telemetry, *args)
        if exchange is None:
            return await wrapped(*args, **kwargs)
        step = exchange.serving.enter()
        _exchanges[id(protocol)] = exchange
        try:
            answer = await wrapped(*args[:2], exchange.handle)
            guard(exchange.answered, answer)
        except BaseException as error:
            guard(exchange.failed, error)
            raise
        finally:
            _exchanges.pop(id(protocol), None)
            exchange.serving.leave(step)
        return answer

    return handle_request


def stopping(wrapped: Callable[..., Any], protocol: object, args: Any, kwargs: Any) -> Any:
    """Wraps how a server that stops ends one connection."""
    exchange = _exchanges.get(id(protocol))
    if exchange is not None:
        exchange.is_stopping = True
    return wrapped(*args, **kwargs)


async def prepared(wrapped: Callable[..., Any], request: BaseRequest, args: Any, kwargs: Any) -> Any:
    """Wraps what aiohttp awaits before it sends the header of a response."""
    result = await wrapped(*args, **kwargs)
    exchange = _exchanges.get(id(request.protocol))
    if exchange is not None:
        guard(exchange.respond, *args)
    return result


def _begin(telemetry: ServerTelemetry, request: BaseRequest, _start: object, handler: Handler) -> Exchange | None:
    if request._message is sys.modules["aiohttp.web_protocol"].ERROR:
        return None  # could not be parsed: the server answers it by itself
    # Nothing is kept in the request itself, where aiohttp wants no names but those of the application.
    call = telemetry.start(AioHttpRequest(request), request, {})
    return None if call is None else Exchange(call, request, handler)
