"""A real HTTP server on loopback that answers as it is told and records what it received."""

from __future__ import annotations

import ssl
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_DEADLINE = 30.0


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: Message
    body: bytes
    peer: tuple[str, int]


@dataclass
class Answer:
    """What to send back; `chunks` instead of `body` sends it chunked, `broken` closes without an answer.

    `cut` closes before the last chunk.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    chunks: list[bytes] | None = None
    broken: bool = False
    cut: bool = False
    before: Callable[[], Any] | None = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._read_chunks()
        with self.server.arrived:
            self.server.received.append(Received(self.command, self.path, self.headers, body, self.client_address))
            self.server.arrived.notify_all()
        answers = self.server.answers[self.path.partition("?")[0]] or [Answer()]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.before is not None:
            answer.before()
        if answer.broken:
            self.close_connection = True
            self.connection.close()
            return
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = handle_any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunks is not None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in answer.chunks:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if answer.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.arrived = threading.Condition()
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.connections: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is part of some tests


class LoopbackServer:
    """The server; a context manager.

    Attributes:
        url: where it listens, without a slash at the end.
        received: the requests so far.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = _Server()
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.received = self._server.received
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def answer(self, path: str, *answers: Answer) -> str:
        """Answer requests for `path` with each in turn, the last one for ever; returns the URL."""
        self._server.answers[path] = list(answers)
        return self.url + path

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Answer requests for `path` with a redirect; returns the URL."""
        return self.answer(path, Answer(status, {"Location": target}, b""))

    def wait_until(self, has_come: Callable[[], bool]) -> bool:
        """Wait, while requests arrive, for a condition; gives whether it has come true in time."""
        with self._server.arrived:
            return self._server.arrived.wait_for(has_come, _DEADLINE)

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections)

    @property
    def client_certificates(self) -> list[Any]:
        """The certificates that those have shown who are connected now."""
        return [connection.getpeercert() for connection in list(self._server.connections)]

    def header(self, name: str) -> list[str | None]:
        """The values of one header field in the requests so far."""
        return [request.headers.get(name) for request in self.received]

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.connections):
            self._server.shutdown_request(connection)
        self._server.server_close()
