"""Bodies: their span ends at the header; how long they take, how much comes and how they end is measured apart."""

from __future__ import annotations

import array
import asyncio
import gc
import gzip
import io

import aiohttp
import pytest
from aiohttp import web

from tests.web_server import raw_server

SIZE = "hopline.http.client.body.size"
DURATION = "hopline.http.client.body.duration"
PAUSE = 0.2


def streaming(chunk=b"x" * 1000, times=3, pause=0.0):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(times):
            await asyncio.sleep(pause)
            await response.write(chunk)
        return response

    return handler


def outcomes(telemetry):
    return {point.attributes["hopline.outcome"]: point.sum for point in telemetry.points(SIZE)}


async def test_the_span_ends_at_the_header_and_the_body_is_measured_apart(instrument, telemetry, site):
    instrument()
    url = site.on("/", streaming(pause=PAUSE))

    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.read()

    span, point = telemetry.span, telemetry.point(DURATION)
    assert (span.end_time - span.start_time) / 1e9 < 2 * PAUSE <= point.sum
    assert point.attributes["http.response.status_code"] == 200
    assert outcomes(telemetry) == {"consumed": 3000}


@pytest.mark.parametrize("how", ["read", "json", "chunks", "lines"])
async def test_a_body_is_counted_once_however_it_is_read(instrument, telemetry, site, how):
    instrument()
    url = site.on("/", streaming(b'"aaaa"\n', 1, PAUSE))

    async with aiohttp.ClientSession() as session, session.get(url) as response:
        if how == "chunks":
            [chunk async for chunk in response.content.iter_any()]
        elif how == "lines":
            [line async for line in response.content]
        elif how == "json":
            await response.json(content_type=None)
        else:
            await response.read()
            await response.read()

    point = telemetry.point(SIZE)
    assert (point.count, point.sum) == (1, 7)


async def test_a_body_that_came_with_its_header_was_not_streamed(instrument, telemetry):
    instrument(body_sizes=True)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

    async with raw_server(answer) as (url, _), aiohttp.ClientSession() as session, session.get(url) as response:
        assert await response.text() == "hello"

    assert telemetry.points(SIZE) == []
    assert telemetry.point("http.client.response.body.size").sum == 5


async def test_a_body_that_is_closed_early_is_told_as_closed(instrument, telemetry, site):
    instrument()
    url = site.on("/", streaming(pause=PAUSE))

    async with aiohttp.ClientSession() as session:
        response = await session.get(url)
        await response.content.readany()
        response.close()

    assert outcomes(telemetry) == {"closed": 1000}


async def test_a_response_that_is_left_unread_is_told_as_closed(instrument, telemetry, site):
    instrument()
    url = site.on("/", streaming(pause=PAUSE))

    async with aiohttp.ClientSession() as session, session.get(url):
        pass

    assert outcomes(telemetry) == {"closed": 0}


async def test_a_body_that_breaks_off_is_told_by_its_error(instrument, telemetry):
    instrument()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"

    async with raw_server(answer) as (url, _), aiohttp.ClientSession() as session:
        response = await session.get(url)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()

    assert outcomes(telemetry) == {"aiohttp.client_exceptions.ClientPayloadError": 5}


@pytest.mark.parametrize(
    ("timeout", "outcome"),
    [
        (aiohttp.ClientTimeout(total=PAUSE), "TimeoutError"),
        (aiohttp.ClientTimeout(sock_read=PAUSE), "aiohttp.client_exceptions."),
    ],
    ids=["total", "sock_read"],
)
async def test_a_body_that_takes_too_long_is_told_as_a_timeout(instrument, telemetry, site, timeout, outcome):
    instrument()
    url = site.on("/", streaming(times=2, pause=10 * PAUSE))

    async with aiohttp.ClientSession(timeout=timeout) as session:
        response = await session.get(url)
        with pytest.raises(asyncio.TimeoutError):
            await response.read()

    (ending,) = outcomes(telemetry)
    assert ending.startswith(outcome)
    assert ending.endswith("TimeoutError")
    assert telemetry.span.attributes["http.response.status_code"] == 200


async def test_a_response_that_is_dropped_is_told_as_abandoned(instrument, telemetry, site):
    instrument()
    url = site.hold_body("/")

    async with aiohttp.ClientSession() as session:
        response = await session.get(url)
        response.content._eof_callbacks.clear()  # aiohttp's own reference, which keeps the response for ever
        gc.disable()
        del response
        gc.enable()

        assert outcomes(telemetry) == {"abandoned": 0}


async def test_the_bytes_of_a_compressed_body_are_those_on_the_wire(instrument, telemetry, site):
    compressed = gzip.compress(b"x" * 100_000)

    async def handler(request):
        headers = {"Content-Encoding": "gzip", "Content-Length": str(len(compressed))}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await asyncio.sleep(PAUSE)
        await response.write(compressed)
        return response

    instrument()
    url = site.on("/", handler)

    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert len(await response.read()) == 100_000

    assert outcomes(telemetry) == {"consumed": len(compressed)}


async def test_a_stream_that_does_not_count_is_measured_by_what_read_gives(instrument, telemetry, site):
    class Uncounted:
        """A stream of the application's own around aiohttp's."""

        def __init__(self, stream):
            self._stream = stream

        def __getattr__(self, name):
            if name.startswith("total_"):
                raise AttributeError(name)
            return getattr(self._stream, name)

    class Response(aiohttp.ClientResponse):
        async def start(self, connection):
            await super().start(connection)
            self.content = Uncounted(self.content)
            return self

    instrument()
    url = site.on("/", streaming(pause=PAUSE))

    async with aiohttp.ClientSession(response_class=Response) as session, session.get(url) as response:
        await response.read()

    point = telemetry.point(SIZE)
    assert (point.count, point.sum) == (1, 3000)


async def test_sizes_of_bodies_are_measured_on_request(instrument, telemetry, site):
    instrument(body_sizes=True)

    async with aiohttp.ClientSession() as session, session.post(site.url, data=b"x" * 200_000) as response:
        await response.read()

    assert telemetry.point("http.client.request.body.size").sum == 200_000
    assert telemetry.point("http.client.response.body.size").sum == 2


async def test_sizes_of_bodies_are_not_measured_unasked(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.post(site.url, data=b"x"):
        pass

    assert telemetry.points("http.client.request.body.size") == []
    assert telemetry.points("http.client.response.body.size") == []


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 10,
        memoryview(array.array("d", [0.5] * 10)),
        "text",
        {"a": "b"},
        io.BytesIO(b"y" * 70_000),
        io.BytesIO(b"z" * 3_000_000),
    ],
    ids=lambda data: type(data).__name__,
)
async def test_the_span_tells_the_bytes_that_were_sent(instrument, telemetry, site, data):
    instrument()

    async with aiohttp.ClientSession() as session, session.post(site.url, data=data):
        pass

    assert telemetry.span.attributes["http.request.body.size"] == len(site.received[0].body)


async def test_a_request_without_a_body_tells_no_bytes(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    assert "http.request.body.size" not in telemetry.span.attributes


async def test_a_body_that_is_streamed_up_is_counted_as_it_goes(instrument, telemetry, site):
    async def parts():
        for _ in range(4):
            yield b"y" * 500

    instrument(body_sizes=True)

    async with aiohttp.ClientSession() as session, session.post(site.url, data=parts()):
        pass

    assert telemetry.point("http.client.request.body.size").sum == 2000
    assert site.received[0].body == b"y" * 2000


async def test_the_body_of_a_hop_is_not_a_body_of_the_response(instrument, telemetry, site):
    instrument(body_sizes=True)
    site.answer("/a", status=302, headers={"Location": "/b"}, body=b"z" * 50)

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a") as response:
        await response.read()

    assert [point.sum for point in telemetry.points("http.client.response.body.size")] == [2]
