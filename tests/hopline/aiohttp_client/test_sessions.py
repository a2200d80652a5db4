"""Sessions that are not made, or not used, in the usual way."""

from __future__ import annotations

import aiohttp


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
