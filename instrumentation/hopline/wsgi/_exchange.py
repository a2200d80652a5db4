"""One request and its response: the application's calls and the server's, each in the request's context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from hopline._guard import guard
from hopline.frameworks import view_of_environ
from hopline.http.server import ServerCall
from hopline.request_id import HEADER

Fields = list[tuple[str, str]] | tuple[tuple[str, str], ...]
Write = Callable[[bytes], object]

_FIELD = HEADER.lower()
# What an application raises that has used the server's socket, for the server to send nothing and see no error in it:
# Flask-Sock and Flask-SocketIO at the end of a WebSocket, for instance.
_GOODBYES = (("gunicorn.socket", StopIteration), ("werkzeug.socket", ConnectionError))


class Exchange:
    """What happens between the server and the application for one request.

    Args:
        call: the request.
        environ: the server's.
        start_response: the server's.

    Attributes:
        serving: the request's context.
        length: how many bytes of what the application returned the server has read, or has got at once; None where that
            cannot be seen.
    """

    __slots__ = ("_call", "_declared", "_environ", "_start_response", "_write", "_written", "length", "serving")

    def __init__(self, call: ServerCall, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        self._call = call
        self._environ = environ
        self._start_response = start_response
        self._write: Write | None = None
        self._written = 0
        self._declared: int | None = None
        self.serving = call.serving
        self.length: int | None = 0

    def start_response(self, status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None) -> Write | None:
        """What the application calls: the server's ``start_response``, with the request id added to ``headers``."""
        if not isinstance(headers, (list, tuple)):
            headers = list(headers)  # several servers take any iterable, which may be read only once
        headers = guard(self._respond, status, headers) or headers
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            try:
                self._write = self._start_response(status, headers, exc_info)
            finally:
                exc_info = None  # its traceback has this frame in it
        return None if self._write is None else self.write

    def write(self, data: bytes) -> object:
        """What the application may call to send ``data`` rather than to return it."""
        self._written += _size(data)
        write = self._write
        return None if write is None else write(data)

    def respond_with(self, result: Any) -> Any:
        """What the server gets for the application's ``result``; it ends the call when the server closes it."""
        if self._is_file(result):
            # Servers send a file fast if they see that it is one, so it goes to them as it is.
            return self._file(result)
        if type(result) is list:
            return ListBody(self, result)
        if isinstance(result, bytes):
            # uWSGI sends it whole. Others would read numbers from it, and refuse them.
            self.length = len(result)
            self.abandon()
            return result
        if hasattr(result, "__len__"):
            return SizedBody(self, result)
        if result is None or hasattr(result, "__iter__") or hasattr(result, "__getitem__"):
            return Body(self, result)
        # No response but a sign to the server, which compares it: gunicorn's ALREADY_HANDLED, of an application that
        # has taken the connection for itself.
        self._call.is_connection = True
        self.abandon()
        return result

    def fail(self, error: BaseException) -> None:
        """End the call with what the application raised."""
        if self._is_taken() and any(name in self._environ and isinstance(error, kind) for name, kind in _GOODBYES):
            self.finish()
            return
        if self._call.status is None and isinstance(error, Exception):
            self._call.status = 500  # which is what every server answers then
        guard(self._view)
        guard(self._call.fail, error, self._sent())

    def finish(self) -> None:
        """End the call, unless it has ended."""
        if not self._call.ended:
            self._call.is_connection = self._call.is_connection or self._is_taken()
            guard(self._view)
            guard(self._call.finish, self._sent())

    def abandon(self) -> None:
        """End a call whose response was never closed."""
        if not self._call.ended:
            step = self.serving.enter()
            self.finish()
            self.serving.leave(step)

    def _respond(self, status: Any, headers: Fields) -> Fields:
        if not isinstance(status, str):
            return headers  # for the server to refuse
        code = int(status[:3]) if status[:3].isdecimal() else None
        self._call.respond(code, headers, (self._environ, status, headers))
        self._view()  # now already: Flask forgets the request before the response is closed
        has_id = False
        for name, value in headers:
            field = name.lower()
            has_id = has_id or field == _FIELD
            if field == "content-length" and str(value).isdecimal():
                self._declared = int(value)
        request_id = self.serving.request_id_here
        if has_id or request_id is None:
            return headers
        own = (HEADER, request_id)
        return (*headers, own) if isinstance(headers, tuple) else [*headers, own]  # wsgiref takes no tuple

    def _sent(self) -> int | None:
        if self._environ.get("REQUEST_METHOD") == "HEAD":
            return 0  # what an application returns to it, the server does not send
        return None if self.length is None else self._written + self.length

    def _is_taken(self) -> bool:
        """Whether the application has taken the connection for itself, as for a WebSocket, rather than responded."""
        return self._call.status is None and "HTTP_UPGRADE" in self._environ

    def _view(self) -> None:
        if self._call.route is None:
            self._call.route, self._call.function = view_of_environ(self._environ)

    def _is_file(self, result: Any) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(result, wrapper)
        return wrapper is not None and hasattr(result, "read")  # uWSGI's is a function, which returns the file itself

    def _file(self, result: Any) -> Any:
        self.length = self._declared
        try:
            result.close = partial(self.close, getattr(result, "close", None))
        except (AttributeError, TypeError):
            self.abandon()  # a type of a server in C: when it is closed cannot be seen
        return result

    def close(self, close: Callable[[], object] | None) -> None:
        """Close the response, with the application's ``close`` if it has one, and end the call."""
        step = self.serving.enter()
        try:
            if close is not None:
                close()
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            self.finish()
            self.serving.leave(step)


class Body:
    """The response that the application has returned; each step of reading it runs in the request's context."""

    __slots__ = ("_exchange", "_result")

    def __init__(self, exchange: Exchange, result: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._result = result

    def __iter__(self) -> Iterator[bytes]:
        exchange = self._exchange
        step = exchange.serving.enter()
        try:
            return Chunks(exchange, iter(self._result), self)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            exchange.serving.leave(step)

    def close(self) -> None:
        """Close the application's response and end the call; the server calls it when it is done."""
        self._exchange.close(getattr(self._result, "close", None))

    def __del__(self) -> None:
        self._exchange.abandon()


class SizedBody(Body):
    """A response of a known number of chunks, from which servers tell its length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._result)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[bytes]:
        if type(self._result) is not tuple:
            return super().__iter__()
        # Nothing of the application runs while it is read, and a server may read it twice.
        self._exchange.length = sum(map(_size, self._result))
        return iter(self._result)


class ListBody(list[bytes]):
    """A response that is a list, and stays one: servers such as granian send a list at once, with its length.

    Nothing of the application runs while it is read.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange, result: list[bytes]) -> None:
        super().__init__(result)
        self._exchange = exchange
        exchange.length = sum(map(_size, result))

    def close(self) -> None:
        """End the call; the server calls it when it is done, or drops the list."""
        self._exchange.close(None)

    def __del__(self) -> None:
        self._exchange.abandon()


class Chunks:
    """The chunks of a response, each made in the request's context, in whatever thread the server asks for it."""

    __slots__ = ("_body", "_chunks", "_exchange", "_length")

    def __init__(self, exchange: Exchange, chunks: Iterator[bytes], body: Body) -> None:
        self._exchange = exchange
        self._chunks = chunks
        self._body = body  # a server may keep nothing but this iterator
        self._length = exchange.length = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        step = exchange.serving.enter()
        try:
            chunk = next(self._chunks)
            self._length += _size(chunk)
            exchange.length = self._length
        except StopIteration:
            raise
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            exchange.serving.leave(step)
        return chunk


def _size(chunk: object) -> int:
    """How many bytes ``chunk`` has; none, if it is for the server to refuse or to pass over."""
    return len(chunk) if hasattr(chunk, "__len__") else 0
