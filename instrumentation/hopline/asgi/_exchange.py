"""One request or connection: the messages between the server and the application."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from hopline._guard import guard
from hopline.frameworks import view_of_scope
from hopline.http.server import ServerCall
from hopline.request_id import HEADER

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FIELD = HEADER.lower().encode("ascii")
_SWITCHING_PROTOCOLS = 101
_FORBIDDEN = 403  # what a server answers to a WebSocket that is closed before it is accepted
_FAILED = 500
# How Starlette's applications commonly learn that the other side has left.
_DEPARTURES = frozenset(("ClientDisconnect", "WebSocketDisconnect"))
_UNANSWERED = (GeneratorExit, KeyboardInterrupt, SystemExit)  # these end the server; all else it answers with a 500
_STARTS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))


class Exchange:
    """What happens between the server and the application for one request or connection.

    Args:
        call: the request.
        scope: its scope.
        root: its ``root_path`` when it came in.
        receive: the server's.
        send: the server's.
    """

    __slots__ = (
        "_call",
        "_fields",
        "_has_trailers",
        "_is_complete",
        "_is_gone",
        "_length",
        "_receive",
        "_refused",
        "_root",
        "_scope",
        "_send",
        "serving",
    )

    def __init__(
        self, call: ServerCall, scope: MutableMapping[str, Any], root: str, receive: Receive, send: Send
    ) -> None:
        self._call = call
        self._scope = scope
        self._root = root
        self._receive = receive
        self._send = send
        self._has_trailers = False
        self._is_complete = False
        self._is_gone = False
        self._length: int | None = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._refused: Exception | None = None
        self.serving = call.serving

    async def receive(self) -> Message:
        """What the application awaits: the server's next message."""
        message = await self._receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            guard(self._disconnected, message)
        return message

    async def send(self, message: Message) -> None:
        """What the application calls: the server's ``send``, with the request id added where a response begins."""
        kind = message["type"]
        if kind in _STARTS:
            message = _with_lasting_fields(message)
            message = guard(self._started, message) or message
        is_in_time = not self._is_gone
        try:
            await self._send(message)
        except Exception as error:
            self._note_refusal(kind, error)
            raise
        if is_in_time and kind not in _STARTS:
            guard(self._sent, kind, message)

    def fail(self, error: BaseException) -> None:
        """End the call with what the application raised."""
        if guard(_is_cancellation, error):
            self.finish("cancelled")
        elif self._is_departure(error):
            self.finish()
        else:
            if self._call.status is None and not isinstance(error, _UNANSWERED):
                self._call.status = _FAILED
            guard(self._view)
            guard(self._call.fail, error, self._sent_length())

    def finish(self, outcome: str | None = None) -> None:
        """End the call, unless it has ended."""
        if self._call.ended:
            return
        if self._is_gone and not self._is_complete and (self._call.status is None or self._scope["type"] == "http"):
            outcome = outcome or "disconnected"
        if self._call.status is None and outcome is None:
            self._call.status = _FAILED  # which is what servers answer when the application does not
        guard(self._view)
        guard(self._call.finish, self._sent_length(), outcome)

    def _note_refusal(self, kind: str, error: Exception) -> None:
        # What the specification has servers raise once the other side has left; hypercorn raises an error of its own,
        # as for what an application must not send.
        is_hypercorns = type(error).__name__ == "UnexpectedMessageError" and kind not in _STARTS
        if isinstance(error, OSError) or (is_hypercorns and self._call.status is not None):
            self._is_gone = True
            self._refused = error

    def _is_departure(self, error: BaseException) -> bool:
        """Whether ``error`` says no more than that the other side has left."""
        return self._is_gone and (error is self._refused or type(error).__name__ in _DEPARTURES)

    def _disconnected(self, message: Message) -> None:
        self._is_gone = True
        if message["type"] == "websocket.disconnect":
            self._call.note_close(message.get("code", 1005))

    def _started(self, message: Message) -> Message:
        status, fields = _status(message), message.get("headers", ())
        if status is None or fields is None:
            return message  # for the server to refuse
        fields = list(fields)
        decoded = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
        # What is answered to nobody, such as an error page about the client's leaving, is no answer.
        self._call.respond(self._call.status if self._is_gone else status, decoded, (self._scope, status, fields))
        self._fields = fields
        self._has_trailers = bool(message.get("trailers"))
        request_id = self.serving.request_id_here
        if request_id is None or any(name.lower() == _FIELD for name, _ in fields):
            return message
        return {**message, "headers": [*fields, (_FIELD, request_id.encode("ascii"))]}

    def _sent(self, kind: str, message: Message) -> None:
        if kind == "http.response.body":
            self._length = (self._length or 0) + len(message.get("body", b""))
            self._is_complete = not message.get("more_body") and not self._has_trailers
        elif kind == "websocket.close":
            if self._call.status is None:
                self._call.status = _FORBIDDEN
            self._call.note_close(message.get("code", 1000))
            return
        elif kind == "http.response.trailers":
            self._is_complete = not message.get("more_trailers")
        elif kind == "http.response.pathsend":
            self._length = _declared(self._fields)
            self._is_complete = True
        # What is sent after an error says no more than its status; the exception that comes with it does.
        if self._is_complete and (self._call.status or 0) < _FAILED:
            self.finish()

    def _sent_length(self) -> int | None:
        return 0 if self._scope.get("method") == "HEAD" else self._length  # what is answered to HEAD, servers leave out

    def _view(self) -> None:
        self._call.route, self._call.function = view_of_scope(self._scope, self._root)


def _status(message: Message) -> int | None:
    """The status with which a response begins, if it is one; hypercorn takes a text of digits, too."""
    status = _SWITCHING_PROTOCOLS if message["type"] == "websocket.accept" else message.get("status")
    if isinstance(status, str) and status.isdecimal():
        return int(status)
    return status if isinstance(status, int) else None


def _with_lasting_fields(message: Message) -> Message:
    """``message``, with a header that can be read more than once: an application may send any iterable."""
    fields = message.get("headers")
    return message if fields is None or isinstance(fields, (list, tuple)) else {**message, "headers": list(fields)}


def _declared(fields: Iterable[tuple[bytes, bytes]]) -> int | None:
    """The length of the body that a header declares, if it does."""
    lengths = [value for name, value in fields if name.lower() == b"content-length" and value.isdigit()]
    return int(lengths[0]) if lengths else None


def _is_cancellation(error: BaseException) -> bool:
    """Whether ``error`` says no more than that the server has cancelled the request."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    if trio is not None and _is_all(error, trio.Cancelled):
        return True
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    # Else the application has awaited what somebody else has cancelled. Python 3.10 does not tell which of the two.
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is None or cancelling() > 0


def _is_all(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether ``error``, or each error of the group that it is, is of that kind."""
    if isinstance(error, kind):
        return True
    split = getattr(error, "split", None)
    return split is not None and split(kind)[1] is None
