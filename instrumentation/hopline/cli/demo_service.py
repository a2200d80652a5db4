"""The services of ``hopline demo``: ordinary WSGI applications without a word about telemetry.

``python -m hopline.cli.demo_service backend`` and ``… frontend BACKEND_URL``; each prints the URL that it serves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def backend(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Has items, knows where they used to be, and misses everything else."""
    path = environ["PATH_INFO"]
    if path == "/old-items":
        start_response("302 Found", [("Location", "/items"), ("Content-Length", "0")])
        return [b""]
    found = path == "/items"
    body = b"three items\n" if found else b"not here\n"
    start_response("200 OK" if found else "404 Not Found", [("Content-Length", str(len(body)))])
    return [body]


def frontend(backend_url: str) -> Application:
    """Make an application that asks the backend for whatever it is asked for."""
    import requests

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # Port 1: nobody listens there, so that the connection is refused.
        down = environ["PATH_INFO"] == "/down"
        target = "http://127.0.0.1:1/" if down else backend_url + environ["PATH_INFO"]
        try:
            body = requests.get(target, timeout=5).content
            status = "200 OK"
        except requests.exceptions.ConnectionError:
            status, body = "502 Bad Gateway", b"the backend is down\n"
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]

    return application


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own name
        pass


class _Server(WSGIServer):
    # Without a reverse look-up of the host's name, which may take seconds.
    def server_bind(self) -> None:
        from socketserver import TCPServer

        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()


def main(arguments: list[str]) -> None:
    """Serve until terminated."""
    name, *rest = arguments
    application = frontend(*rest) if name == "frontend" else backend
    with make_server("127.0.0.1", 0, application, _Server, _QuietHandler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201 - the demo waits for it
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
