"""A WSGI server for one request at a time, in this thread: what a server does by PEP 3333, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

Application = Callable[..., Any]


class Gateway:
    """One request to an application.

    Attributes:
        environ: what the application gets.
        status: the last status that the application has started a response with.
        headers: the header that came with it.
        written: what the application has sent with `write()`.
        result: what the application has returned.
        headers_sent: whether the server has sent the header: then `start_response` raises what `exc_info` has.
    """

    def __init__(self, app: Application, path: str = "/", method: str = "GET", **environ: Any) -> None:
        self.environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, **environ}
        setup_testing_defaults(self.environ)
        self.status = ""
        self.headers: dict[str, str] = {}
        self.written: list[bytes] = []
        self.headers_sent = False
        self.result: Any = None
        self._app = app

    def call(self) -> Gateway:
        """Call the application, without asking for its response."""
        self.result = self._app(self.environ, self.start_response)
        return self

    def serve(self) -> bytes:
        """Serve the request from beginning to end; gives the body."""
        self.call()
        try:
            return b"".join(self.result)
        finally:
            if hasattr(self.result, "close"):
                self.result.close()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info is not None and self.headers_sent:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        self.status = status
        self.headers = dict(headers)
        return self.written.append


def field(name: str) -> str:
    """The key of a header field in `environ`."""
    return "HTTP_" + name.upper().replace("-", "_")


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The simplest application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
