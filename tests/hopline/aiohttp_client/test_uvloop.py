"""The same on uvloop, which calls protocols from C."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.resolvers import LoopbackResolver

uvloop = pytest.importorskip("uvloop")


def on_uvloop(coroutine):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) if hasattr(asyncio, "Runner") else _Runner() as runner:
        return runner.run(coroutine)


class _Runner:
    """What `asyncio.Runner` does, for Python 3.10."""

    def __enter__(self):
        self._loop = uvloop.new_event_loop()
        return self

    def run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def __exit__(self, *_):
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


def test_phases_hops_and_queueing_are_told(instrument, telemetry, site):
    async def fetch_many():
        connector = aiohttp.TCPConnector(limit=2, resolver=LoopbackResolver())
        async with aiohttp.ClientSession(connector=connector) as session:
            await fetch(session, f"{site.named}/a")
            await asyncio.gather(*(fetch(session, site.named) for _ in range(20)))

    instrument()
    site.redirect("/a", "/b")

    on_uvloop(fetch_many())

    assert [span.attributes["http.response.status_code"] for span in telemetry.spans] == [302] + [200] * 21
    assert telemetry.spans[0].attributes["hopline.phase.dns"] > 0
    assert telemetry.spans[0].attributes["network.peer.port"] == site.port
    assert telemetry.point("hopline.http.client.queued").value >= 18
    assert telemetry.point("hopline.http.client.connections.created").value == 2


def test_connections_are_told_to_their_end(instrument, telemetry, site):
    async def fetch_one():
        async with aiohttp.ClientSession() as session:
            await fetch(session, site.url)
        await asyncio.sleep(0.01)

    instrument()

    on_uvloop(fetch_one())

    assert telemetry.point("http.client.connection.duration").count == 1


def test_cancelled_and_late_requests_are_told_apart(instrument, telemetry, site):
    async def give_up():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(fetch(session, site.hold("/held")), 0.1)
            with pytest.raises(asyncio.TimeoutError):
                await session.get(site.hold("/held"), timeout=aiohttp.ClientTimeout(total=0.1))

    instrument()

    on_uvloop(give_up())

    cancelled, late = telemetry.spans
    assert cancelled.attributes["hopline.outcome"] == "cancelled"
    assert late.attributes["error.type"].endswith("TimeoutError")
