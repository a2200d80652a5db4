"""Sessions that are not made, or not used, in the usual way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from hopline.aiohttp_client import AioHttpClientInstrumentor


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


async def test_a_request_that_a_mock_lets_through_reaches_a_session_made_before(
    instrument, telemetry, site, monkeypatch
):
    async with aiohttp.ClientSession() as session:
        instrument()
        mocked = vars(aiohttp.ClientSession)["_request"]

        async def lets_through(session, *arguments, **options):
            return await mocked(session, *arguments, **options)

        with monkeypatch.context() as mocking:
            mocking.setattr(aiohttp.ClientSession, "_request", lets_through)
            await fetch(session, site.url)

    assert len(telemetry.spans) == 1


@pytest.mark.parametrize("kind", [set, iter, dict.fromkeys])
async def test_trace_configs_may_be_whatever_can_be_iterated_over(instrument, telemetry, site, kind):
    instrument()

    async with aiohttp.ClientSession(trace_configs=kind([aiohttp.TraceConfig()])) as session:
        await fetch(session, site.url)

    assert len(telemetry.spans) == 1


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_sessions_of_a_class_without_a_hash_come_and_go_as_others_do(instrument, telemetry, site, caplog):
    class Equal(aiohttp.ClientSession):
        def __eq__(self, other):
            return isinstance(other, Equal)

        __hash__ = None

    instrument()

    async with Equal() as one, Equal() as two:
        await fetch(one, site.url)
        await fetch(two, site.url)
        AioHttpClientInstrumentor().uninstrument()

        assert (one.trace_configs, two.trace_configs) == ([], [])
    assert len(telemetry.spans) == 2
    assert [record for record in caplog.records if record.name == "hopline"] == []


async def test_nothing_is_logged_of_a_connection_that_the_body_of_its_request_has_closed(
    instrument, telemetry, site, caplog
):
    async def given_up():
        yield b"x"
        raise asyncio.CancelledError

    instrument()

    async with aiohttp.ClientSession() as session:
        with suppress(AttributeError, aiohttp.ClientError):  # which of them is aiohttp's affair
            await (await session.post(site.url, data=given_up())).read()

    assert len(telemetry.spans) == 1
    assert [record for record in caplog.records if record.name == "hopline"] == []
