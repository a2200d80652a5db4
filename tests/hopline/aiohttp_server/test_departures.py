"""Clients of aiohttp's server that leave, and requests that it cancels."""

import asyncio
import gc
import sys
import weakref

import pytest
from aiohttp import web

from tests.hopline.aiohttp_server.conftest import serve, until

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"
OUTCOME = "hopline.outcome"


async def come_and_leave(port, raw, until_when):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    await until(until_when)
    writer.transport.abort()


def outcome_of(span):
    return tuple(span.attributes.get(name) for name in (OUTCOME, "http.response.status_code", "error.type"))


@pytest.mark.parametrize("cancels", [False, True])
async def test_a_client_that_leaves_while_the_handler_works_is_no_error(instrumented, telemetry, cancels):
    reached = []

    async def handler(request):
        reached.append(request)
        await until(lambda: request.transport is None)
        await asyncio.sleep(0)
        return web.Response()

    async with serve(handler, handler_cancellation=cancels) as port:
        await come_and_leave(port, REQUEST, lambda: reached)
        await until(lambda: telemetry.spans)

    assert outcome_of(telemetry.span) == ("disconnected", None, None)
    assert telemetry.span.events == ()


async def test_a_client_that_leaves_while_it_sends_is_no_error(instrumented, telemetry):
    reached = []

    async def handler(request):
        reached.append(request)
        return web.Response(body=await request.read())

    async with serve(handler) as port:
        await come_and_leave(port, UPLOAD, lambda: reached)
        await until(lambda: telemetry.spans)

    assert outcome_of(telemetry.span) == ("disconnected", None, None)


async def test_a_client_that_leaves_within_the_response_has_its_status(instrumented, telemetry):
    written = []

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"more")
            written.append(1)
            await asyncio.sleep(0)

    async with serve(handler) as port:
        await come_and_leave(port, REQUEST, lambda: written)
        await until(lambda: telemetry.spans)

    assert outcome_of(telemetry.span) == ("disconnected", 200, None)


async def test_an_error_of_the_applications_own_is_told_though_the_client_has_left(instrumented, telemetry):
    reached = []

    async def handler(request):
        reached.append(request)
        await until(lambda: request.transport is None)
        raise ConnectionResetError(104, "of the database")

    async with serve(handler) as port:
        await come_and_leave(port, REQUEST, lambda: reached)
        await until(lambda: telemetry.spans)

    assert outcome_of(telemetry.span) == (None, None, "ConnectionResetError")


async def test_an_error_of_another_connection_is_told_while_the_client_is_there(instrumented, telemetry):
    async def handler(request):
        raise ConnectionResetError("of the database")

    async with serve(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert outcome_of(telemetry.span) == (None, 500, "ConnectionResetError")


async def test_a_request_that_is_cancelled_is_told_as_that(instrumented, telemetry):
    async def handler(request):
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    async with serve(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()

    assert answer == b""
    assert outcome_of(telemetry.span) == ("cancelled", None, None)


async def test_a_request_that_a_server_cuts_off_to_stop_is_cancelled(instrumented, telemetry):
    reached = []

    async def handler(request):
        reached.append(request)
        await asyncio.sleep(60)

    async with serve(handler) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await until(lambda: reached)
    await until(lambda: telemetry.spans)
    writer.close()

    assert outcome_of(telemetry.span) == ("cancelled", None, None)
    assert [point.value for point in telemetry.points("http.server.active_requests")] in ([], [0])


@pytest.mark.filterwarnings("ignore")  # of asyncio, which tells what was left open
def test_a_loop_that_is_dropped_with_a_request_in_it_is_not_kept(instrumented, telemetry, monkeypatch):
    ended = []
    # pytest's keeps the error that aiohttp raises, and the frames that it went through.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    async def begin():
        reached = asyncio.Event()

        async def handler(request):
            reached.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(1)

        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(REQUEST)
        await reached.wait()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    dropped = weakref.ref(loop)
    del loop
    gc.collect()

    assert (dropped(), ended) == (None, [1])
    assert [point.value for point in telemetry.points("http.server.active_requests")] in ([], [0])
