from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hopline.aiohttp_server import AioHttpServerInstrumentor
from tests.telemetry import Telemetry, instrumenting


@pytest.fixture
def instrument(telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Instrument aiohttp's server, for the length of the test, with telemetry of its own."""
    with instrumenting(AioHttpServerInstrumentor(), telemetry) as instrument:
        yield instrument


@pytest.fixture
def instrumented(instrument: Callable[..., None]) -> None:
    """aiohttp's server is instrumented as it is by default."""
    instrument()


@asynccontextmanager
async def serve(handler: Any, path: str = "/", **settings: Any) -> AsyncIterator[int]:
    """Serve a handler, or what is a whole application, on loopback in this loop; gives the port."""
    application = handler
    if not isinstance(handler, web.Application):
        application = web.Application()
        application.router.add_route("*", path, handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, **settings)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Response:
    """A response as it came over the wire."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}


async def send(port: int, head: str = "GET / HTTP/1.1", *fields: str) -> Response:
    """Send one request on a connection of its own, and give what comes until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (head, "Host: shop.example", *fields, "Connection: close", "", "")
    writer.write("\r\n".join(lines).encode("latin-1"))
    raw = await reader.read()
    writer.close()
    await writer.wait_closed()
    return Response(raw)


async def until(condition: Callable[[], Any]) -> None:
    """Let others run until something is true."""
    while not condition():
        await asyncio.sleep(0.001)
