"""A real aiohttp.web server on loopback, in a thread with a loop of its own, that records what it received."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: Any
    body: bytes


@asynccontextmanager
async def raw_server(*answers: bytes, wait: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server in the caller's loop that answers each request of a connection with the next of `answers`, and hangs up.

    Args:
        answers: what to send.
        wait: hang up only once another request has come.

    Yields:
        Its URL, and the headers of the requests so far.
    """
    received: list[bytes] = []
    connections: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for answer in answers:
                received.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)
                await writer.drain()
            if wait:
                received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", received
    finally:
        server.close()
        await asyncio.gather(*connections, return_exceptions=True)


class WebServer:
    """The server; a context manager.

    Attributes:
        url: where it listens, by address.
        named: where it listens, by a name that has to be resolved.
        received: the requests so far.
    """

    def __init__(self, tls: SSLContext | None = None) -> None:
        self._tls = tls
        self._handlers: dict[str, Handler] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.received: list[Received] = []
        self.connections: list[Any] = []
        self.released = asyncio.Event()

    def on(self, path: str, handler: Handler) -> str:
        """Answer requests for `path` with what `handler` gives; returns the URL."""
        self._handlers[path] = handler
        return self.url + path

    def answer(self, path: str, **response: Any) -> str:
        """Answer requests for `path` always with one response; returns the URL."""

        async def handler(request: web.Request) -> web.Response:
            return web.Response(**response)

        return self.on(path, handler)

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Answer requests for `path` with a redirect; returns the URL."""
        return self.answer(path, status=status, headers={"Location": target})

    def hold(self, path: str) -> str:
        """Answer requests for `path` only once `release` was called; returns the URL."""

        async def handler(request: web.Request) -> web.Response:
            await self.released.wait()
            return web.Response(text="late")

        return self.on(path, handler)

    def hold_body(self, path: str) -> str:
        """Answer requests for `path` with a header at once, and a body only once `release` was called."""

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await self.released.wait()
            return response

        return self.on(path, handler)

    def release(self) -> None:
        """Answer the requests that are held."""
        self._loop.call_soon_threadsafe(self.released.set)

    def header(self, name: str) -> list[str | None]:
        """The values of one header field in the requests so far."""
        return [request.headers.get(name) for request in self.received]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received.append(Received(request.method, request.path_qs, request.headers, body))
        handler = self._handlers.get(request.path)
        return web.Response(text="ok") if handler is None else await handler(request)

    async def _start(self) -> int:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls, backlog=2048)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _stop(self) -> None:
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for _ in range(10):  # transports that are being closed take some turns of the loop
            await asyncio.sleep(0)

    def __enter__(self) -> WebServer:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.named = f"{scheme}://service.test:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
