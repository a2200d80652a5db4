"""The deadline of the request that is being served bounds the requests that it makes."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from hopline import Context
from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline.deadline import DeadlineExceeded

SHORT_MS = 100


async def fetch(session, url, **options):
    async with session.get(url, **options) as response:
        return await response.read()


async def test_a_passed_deadline_is_a_timeout_before_anything_is_sent(instrument, telemetry, site):
    instrument()
    Context.set_relative_deadline(-1)

    async with aiohttp.ClientSession() as session:
        request = session.get(site.url)
        with pytest.raises(asyncio.TimeoutError) as raised:
            await request

    assert isinstance(raised.value, DeadlineExceeded)
    assert (site.received, telemetry.spans) == ([], [])


async def test_a_passed_deadline_is_nothing_to_a_session_that_is_left_alone(instrument, site):
    instrument()
    Context.set_relative_deadline(-1)

    async with aiohttp.ClientSession() as session:
        AioHttpClientInstrumentor.uninstrument_session(session)
        async with session.get(site.url) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "timeout", [None, 0, 60, 60.0, aiohttp.ClientTimeout(), aiohttp.ClientTimeout(total=60)], ids=repr
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_what_is_left_bounds_the_timeout_of_a_request(instrument, telemetry, site, timeout):
    instrument()
    Context.set_relative_deadline(SHORT_MS)

    async with aiohttp.ClientSession() as session:
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.hold("/held"), timeout=timeout)

    assert telemetry.span.attributes["error.type"].endswith("TimeoutError")


async def test_what_is_left_bounds_the_timeout_of_a_session(instrument, telemetry, site):
    instrument()
    Context.set_relative_deadline(SHORT_MS)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.hold("/held"))

    assert telemetry.span.attributes["error.type"].endswith("TimeoutError")


async def test_what_is_left_bounds_a_request_that_a_mock_lets_through(instrument, telemetry, site, monkeypatch):
    instrument()
    mocked = vars(aiohttp.ClientSession)["_request"]

    async def lets_through(session, *arguments, **options):
        return await mocked(session, *arguments, **options)

    Context.set_relative_deadline(SHORT_MS)
    with monkeypatch.context() as mocking:
        mocking.setattr(aiohttp.ClientSession, "_request", lets_through)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(asyncio.TimeoutError):
                await fetch(session, site.hold("/held"))

    assert telemetry.span.attributes["error.type"].endswith("TimeoutError")


@pytest.mark.parametrize("timeout", [None, 59.9], ids=repr)
async def test_no_timer_is_set_for_later_than_the_deadline(instrument, site, monkeypatch, timeout):
    loop = asyncio.get_running_loop()
    call_at, now, timers = loop.call_at, int(loop.time()) + 0.5, []

    def note(when, *arguments, **options):
        timers.append(when)
        return call_at(when, *arguments, **options)

    instrument()
    async with aiohttp.ClientSession() as session:
        Context.set_relative_deadline(60_000)
        monkeypatch.setattr(loop, "time", lambda: now)
        monkeypatch.setattr(loop, "call_at", note)
        await fetch(session, site.url, timeout=aiohttp.ClientTimeout(timeout))

    assert timers
    assert max(timers) < now + 60.001  # a deadline is told to the millisecond


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_what_is_left_bounds_a_session_whose_class_has_another_use_for_the_name_timeout(
    instrument, telemetry, site
):
    class Own(aiohttp.ClientSession):
        timeout = 60

    instrument()
    Context.set_relative_deadline(SHORT_MS)

    async with Own() as session:
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.hold("/held"))

    assert telemetry.span.attributes["error.type"].endswith("TimeoutError")


async def test_a_request_whose_timeout_cannot_be_bounded_is_made_as_it_is(instrument, site, monkeypatch):
    instrument()
    Context.set_relative_deadline(60_000)
    monkeypatch.setattr(aiohttp, "ClientTimeout", None)

    async with aiohttp.ClientSession() as session:
        assert await fetch(session, site.url) == b"ok"


async def test_a_shorter_timeout_stays_as_it_is(instrument, site):
    instrument()
    Context.set_relative_deadline(60_000)

    async with aiohttp.ClientSession() as session:
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.hold("/held"), timeout=aiohttp.ClientTimeout(total=SHORT_MS / 1000))


async def test_the_other_limits_of_a_timeout_stay_as_they_are(instrument, telemetry, site):
    instrument()
    Context.set_relative_deadline(60_000)

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerTimeoutError):
            await fetch(session, site.hold("/held"), timeout=aiohttp.ClientTimeout(sock_read=SHORT_MS / 1000))


async def test_without_a_deadline_a_request_is_made_as_it_is(instrument, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        assert await fetch(session, site.url) == b"ok"
