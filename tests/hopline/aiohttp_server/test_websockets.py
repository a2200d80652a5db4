"""WebSocket connections to aiohttp's server: one span each, without metrics."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from tests.hopline.aiohttp_server.conftest import serve, until
from tests.sites.aiohttp_site import echo

CLOSE_CODE = "hopline.websocket.close_code"


async def test_a_connection_is_one_span_with_status_101_and_the_code_that_it_was_closed_with(instrumented, telemetry):
    async with serve(echo, "/chat") as port, aiohttp.ClientSession() as session:
        url = f"ws://127.0.0.1:{port}/chat"
        async with session.ws_connect(url, headers={"X-Request-Id": "abc"}) as socket:
            await socket.send_str("hello")
            said = await socket.receive_str()
            active = [point.value for point in telemetry.points("http.server.active_requests")]
            await socket.close(code=4000)
        await until(lambda: telemetry.spans)

    span = telemetry.span
    assert (said, socket._response.headers["X-Request-Id"]) == ("hello abc", "abc")
    assert (span.name, span.attributes["url.scheme"]) == ("GET /chat", "ws")
    assert (span.attributes["http.response.status_code"], span.attributes[CLOSE_CODE]) == (101, 4000)
    assert active in ([], [0])
    assert telemetry.points("http.server.request.duration") == []


async def test_a_handshake_that_is_refused_has_its_status(instrumented, telemetry):
    async def handler(request):
        raise web.HTTPForbidden

    async with serve(handler) as port, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"ws://127.0.0.1:{port}/")

    assert telemetry.span.attributes["http.response.status_code"] == 403


async def test_an_error_within_a_connection_is_told(instrumented, telemetry):
    async def handler(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        raise RuntimeError("broken")

    async with serve(handler) as port, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://127.0.0.1:{port}/") as socket:
            await socket.receive()
        await until(lambda: telemetry.spans)

    attributes = telemetry.span.attributes
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (101, "RuntimeError")


async def test_a_client_that_breaks_off_is_no_error(instrumented, telemetry):
    async with serve(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        fields = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        head = f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n\r\n"
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await until(lambda: telemetry.spans)

    span = telemetry.span
    assert (span.attributes[CLOSE_CODE], span.attributes.get("error.type"), span.events) == (1006, None, ())
    assert type(span.attributes[CLOSE_CODE]) is int
