"""Connections, queueing, look-ups and what is active: counted, timed and attributed to the request that caused it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import aiohttp
import pytest

from hopline.aiohttp_client import AioHttpClientInstrumentor, create_trace_config
from hopline_statsd.config import StatsdConfig
from hopline_statsd.listener import StatsdListener
from hopline_statsd.processor import StatsdSpanProcessor
from tests.resolvers import LoopbackResolver
from tests.telemetry import Telemetry

OPEN = "http.client.open_connections"
CREATED = "hopline.http.client.connections.created"
ACTIVE = "http.client.active_requests"


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


async def received(site, number):
    while len(site.received) < number:
        await asyncio.sleep(0.001)


def states(telemetry, name=OPEN):
    return {point.attributes["http.connection.state"]: point.value for point in telemetry.points(name)}


async def test_connections_are_counted_when_they_are_made_not_when_they_are_used(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            await fetch(session, site.url)

    point = telemetry.point(CREATED)
    assert point.value == 1
    assert dict(point.attributes) == {"server.address": "127.0.0.1", "server.port": site.port}


async def test_a_connection_that_could_not_be_made_is_not_counted(instrument, telemetry, unused_port):
    instrument()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{unused_port}")

    assert telemetry.points(CREATED) == []


async def test_every_request_that_had_to_queue_is_counted_and_timed(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
        await asyncio.gather(*(fetch(session, site.url) for _ in range(10)))

    assert telemetry.point("hopline.http.client.queued").value == 8
    assert telemetry.point("hopline.http.client.queue.duration").count == 8
    assert telemetry.point(CREATED).value == 2


async def test_look_ups_are_counted_by_whether_they_hit_the_cache_and_timed_when_they_did_not(
    instrument, telemetry, site
):
    instrument()
    connector = aiohttp.TCPConnector(resolver=LoopbackResolver(), force_close=True)

    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(3):
            await fetch(session, site.named)

    points = telemetry.points("hopline.http.client.dns.lookups")
    assert {point.attributes["hopline.dns.cache_hit"]: point.value for point in points} == {False: 1, True: 2}
    assert telemetry.point("hopline.http.client.dns.duration").count == 1


async def test_open_connections_are_told_by_whether_they_are_in_use(instrument, telemetry, site):
    instrument()
    held = site.hold("/held")

    async with aiohttp.ClientSession() as session:
        first = asyncio.create_task(fetch(session, held))
        await received(site, 1)
        await fetch(session, site.url)
        one_of_each = states(telemetry)
        site.release()
        await first
        both_idle = states(telemetry)
    await asyncio.sleep(0)
    closed = states(telemetry)

    assert one_of_each == {"active": 1, "idle": 1}
    assert both_idle == {"active": 0, "idle": 2}
    assert closed == {"active": 0, "idle": 0}


async def test_a_connection_is_timed_from_its_making_to_its_closing(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        await fetch(session, site.url)
        assert telemetry.points("http.client.connection.duration") == []
    await asyncio.sleep(0)

    spans, point = telemetry.spans, telemetry.point("http.client.connection.duration")
    assert point.count == 1
    assert point.sum >= (spans[1].end_time - spans[1].start_time) / 1e9


async def test_a_connection_that_the_server_closes_is_not_open(instrument, telemetry, site):
    instrument()
    site.answer("/", headers={"Connection": "close"})

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        while any(states(telemetry).values()):
            await asyncio.sleep(0.001)

        assert telemetry.point("http.client.connection.duration").count == 1


async def test_requests_are_active_while_they_wait_for_their_header(instrument, telemetry, site):
    instrument()
    held = site.hold("/held")

    async with aiohttp.ClientSession() as session:
        first = asyncio.create_task(fetch(session, held))
        await received(site, 1)
        during = telemetry.point(ACTIVE).value
        site.release()
        await first

    assert (during, telemetry.point(ACTIVE).value) == (1, 0)


async def test_a_connector_that_two_sessions_share_attributes_each_event_to_its_request(telemetry, site, other_site):
    others = Telemetry()
    connector = aiohttp.TCPConnector(limit=1)
    first = aiohttp.ClientSession(
        connector=connector, connector_owner=False, trace_configs=[create_trace_config(**telemetry.providers)]
    )
    second = aiohttp.ClientSession(
        connector=connector, connector_owner=False, trace_configs=[create_trace_config(**others.providers)]
    )

    async with connector, first, second:
        await asyncio.gather(fetch(first, site.hold("/held")), fetch(second, site.url), let_go(site))

    assert telemetry.span.attributes["hopline.connection.reused"] is False
    assert "hopline.phase.queue" not in telemetry.span.attributes
    assert others.span.attributes["hopline.connection.reused"] is True
    assert others.span.attributes["hopline.phase.queue"] > 0
    assert (len(telemetry.points(CREATED)), len(others.points(CREATED))) == (1, 0)
    assert others.point("hopline.http.client.queued").value == 1
    others.shutdown()


async def test_each_event_of_a_shared_connector_is_one_exact_statsd_line(instrument, telemetry, site):
    instrument()
    connector = aiohttp.TCPConnector(limit=1, resolver=LoopbackResolver())
    with StatsdListener() as listener:
        processor = StatsdSpanProcessor(StatsdConfig(endpoint=listener.endpoint, prefix="shop"))
        telemetry.tracer_provider.add_span_processor(processor)
        async with connector:
            first = aiohttp.ClientSession(connector=connector, connector_owner=False)
            second = aiohttp.ClientSession(connector=connector, connector_owner=False)
            async with first, second:
                await asyncio.gather(*(fetch(session, site.named) for session in (first, second, second)))
        processor.shutdown()
        while len(listener.lines) < 8:
            await asyncio.sleep(0.001)

    counted = Counter(re.sub(r":[\d.]+\|ms$", ":…|ms", line) for line in listener.lines)
    assert counted == {
        "shop.requests.service-test.connections:1|c": 1,
        "shop.requests.service-test.queued:1|c": 2,
        "shop.requests.service-test.queue:…|ms": 2,
        "shop.requests.service-test.GET.200:…|ms": 3,
    }


async def test_a_websocket_uses_its_connection_as_long_as_it_is_open(instrument, telemetry, site):
    async def listen(request):
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    instrument()

    async with aiohttp.ClientSession() as session, session.ws_connect(site.on("/ws", listen)):
        assert states(telemetry) == {"active": 1}


async def let_go(site):
    await received(site, 1)
    site.release()


async def test_instrumented_a_second_time_active_requests_and_connections_are_still_counted(
    instrument, telemetry, site
):
    instrument()
    AioHttpClientInstrumentor().uninstrument()
    instrument()
    held = site.hold("/held")

    async with aiohttp.ClientSession() as session:
        request = asyncio.create_task(fetch(session, held))
        await received(site, 1)
        counted = telemetry.point(ACTIVE).value, states(telemetry)
        site.release()
        await request

    assert counted == (1, {"active": 1})


async def test_configs_made_for_one_session_each_are_counted_together(telemetry, site):
    held = site.hold("/held")
    sessions = [aiohttp.ClientSession(trace_configs=[create_trace_config(**telemetry.providers)]) for _ in range(2)]

    async with sessions[0], sessions[1]:
        requests = [asyncio.create_task(fetch(session, held)) for session in sessions]
        await received(site, 2)
        counted = telemetry.point(ACTIVE).value
        site.release()
        await asyncio.gather(*requests)

    assert counted == 2
