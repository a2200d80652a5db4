"""Client middlewares, which aiohttp has since 3.12: what happens to a request between its attempts."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from time import time_ns

import aiohttp
import pytest

if not hasattr(aiohttp, "DigestAuthMiddleware"):
    pytest.skip("aiohttp has client middlewares from 3.12 on", allow_module_level=True)


class Retry:
    """Tries again after an error, a number of times, and notes the errors and when they came."""

    def __init__(self, times):
        self.times = times
        self.errors = []
        self.moments = []

    async def __call__(self, request, handler):
        while len(self.errors) < self.times:
            with suppress(aiohttp.ClientError, asyncio.TimeoutError), self.noting():
                return await handler(request)
        return await handler(request)

    @contextmanager
    def noting(self):
        try:
            yield
        except Exception as error:
            self.errors.append(f"{type(error).__module__}.{type(error).__qualname__}")
            self.moments.append(time_ns())
            raise


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


def error_types(telemetry):
    return [span.attributes.get("error.type") for span in telemetry.spans]


async def get_from_nobody(port, middleware):
    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/")


async def test_an_attempt_that_gets_no_connection_is_told_by_its_own_error(instrument, telemetry, unused_port):
    retry = Retry(2)
    instrument()

    await get_from_nobody(unused_port, retry)

    assert error_types(telemetry) == ["aiohttp.client_exceptions.ClientConnectorError"] * 3


async def test_an_attempt_is_told_by_the_error_that_the_middleware_gets(instrument, telemetry, site):
    retry = Retry(1)
    timeout = aiohttp.ClientTimeout(connect=0.1)
    instrument()

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        session.get(site.hold_body("/held")),
    ):
        with pytest.raises(asyncio.TimeoutError):
            await session.get(site.url, timeout=timeout, middlewares=[retry])

    _, first, _ = error_types(telemetry)
    assert [first] == retry.errors


async def test_an_attempt_that_gets_no_connection_ends_when_its_error_comes(instrument, telemetry, unused_port):
    retry = Retry(1)
    instrument()

    await get_from_nobody(unused_port, retry)

    assert telemetry.spans[0].end_time <= retry.moments[0]


async def test_the_phases_of_an_attempt_end_with_it(instrument, telemetry, unused_port):
    instrument()

    await get_from_nobody(unused_port, Retry(1))

    first = telemetry.spans[0]
    assert first.attributes["hopline.phase.connect"] <= seconds(first)


async def test_an_attempt_ends_when_its_answer_comes_where_the_middleware_then_raises(instrument, telemetry, site):
    moments = []

    async def give_up(request, handler):
        response = await handler(request)
        moments.append(time_ns())
        response.release()
        raise aiohttp.ClientError("not again")

    instrument()
    site.answer("/", status=503)

    async with aiohttp.ClientSession(middlewares=[give_up]) as session:
        with pytest.raises(aiohttp.ClientError, match="not again"):
            await session.get(site.url)

    assert telemetry.span.attributes["http.response.status_code"] == 503
    assert telemetry.span.end_time <= moments[0]


@pytest.fixture
def backing_off():
    """A middleware that waits after an answer or an error, for longer than anybody is ready to."""

    async def back_off(request, handler):
        with suppress(aiohttp.ClientError):
            await handler(request)
        back_off.began = time_ns()
        back_off.begun.set()
        await asyncio.Event().wait()

    back_off.begun = asyncio.Event()
    return back_off


async def give_up(session, url, backing_off):
    task = asyncio.create_task(session._request("GET", url, middlewares=[backing_off]))
    await backing_off.begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_answer_stays_where_the_caller_gives_up_while_a_middleware_waits(
    instrument, telemetry, site, backing_off
):
    instrument()
    site.answer("/", status=503)

    async with aiohttp.ClientSession() as session:
        await give_up(session, site.url, backing_off)

    assert telemetry.span.attributes["error.type"] == "503"
    assert telemetry.span.end_time <= backing_off.began


async def test_an_error_stays_where_the_caller_gives_up_while_a_middleware_waits(
    instrument, telemetry, unused_port, backing_off
):
    instrument()

    async with aiohttp.ClientSession() as session:
        await give_up(session, f"http://127.0.0.1:{unused_port}/", backing_off)

    assert telemetry.span.attributes["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert telemetry.span.end_time <= backing_off.began


async def test_a_redirect_ends_when_its_answer_comes_whatever_a_middleware_does_with_it(instrument, telemetry, site):
    moments = []

    async def read(request, handler):
        response = await handler(request)
        moments.append(time_ns())
        await response.read()
        return response

    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession(middlewares=[read]) as session, session.get(f"{site.url}/a"):
        pass

    assert telemetry.spans[0].end_time <= moments[0]
