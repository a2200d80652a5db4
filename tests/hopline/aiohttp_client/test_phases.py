"""The phases of a request: waiting for a connection, resolving, connecting, waiting for the header."""

from __future__ import annotations

import asyncio
import itertools
import ssl

import aiohttp
import pytest
import trustme

from hopline.aiohttp_client._progress import Progress
from tests.resolvers import LoopbackResolver
from tests.web_server import WebServer

QUEUE = "hopline.phase.queue"
DNS = "hopline.phase.dns"
CONNECT = "hopline.phase.connect"
HEADERS = "hopline.phase.headers"
REUSED = "hopline.connection.reused"
CACHE_HIT = "hopline.dns.cache_hit"
LONG = 0.2

# Python 3.10 complains of a server's TLS transport that the other side has closed.
with_tls = pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")


def seconds(span):
    return (span.end_time - span.start_time) / 1e9


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


async def test_a_new_connection_tells_connecting_and_no_queue(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)

    attributes = telemetry.span.attributes
    assert attributes[REUSED] is False
    assert 0 < attributes[CONNECT] < attributes[HEADERS] <= seconds(telemetry.span)
    assert {QUEUE, DNS, CACHE_HIT}.isdisjoint(attributes)  # an address needs no resolving


async def test_a_connection_of_the_pool_tells_no_connecting(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await fetch(session, site.url)
        await fetch(session, site.url)

    attributes = telemetry.spans[1].attributes
    assert attributes[REUSED] is True
    assert {QUEUE, DNS, CONNECT, CACHE_HIT}.isdisjoint(attributes)


async def test_the_time_of_the_resolver_is_not_part_of_connecting(instrument, telemetry, site):
    instrument()
    connector = aiohttp.TCPConnector(resolver=LoopbackResolver(LONG))

    async with aiohttp.ClientSession(connector=connector) as session:
        await fetch(session, site.named)

    attributes = telemetry.span.attributes
    assert attributes[CACHE_HIT] is False
    assert attributes[DNS] >= LONG * 0.9
    assert attributes[DNS] + attributes[CONNECT] <= attributes[HEADERS]
    assert attributes["server.address"] == "service.test"
    assert attributes["network.peer.address"] == "127.0.0.1"


async def test_a_name_that_the_connector_knows_is_a_hit_without_resolving(instrument, telemetry, site):
    instrument()
    resolver = LoopbackResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, force_close=True)

    async with aiohttp.ClientSession(connector=connector) as session:
        await fetch(session, site.named)
        await fetch(session, site.named)

    first, second = telemetry.spans
    assert [first.attributes[CACHE_HIT], second.attributes[CACHE_HIT]] == [False, True]
    assert DNS not in second.attributes
    assert resolver.asked == ["service.test"]


async def test_without_a_cache_the_resolver_is_timed_and_no_hit_or_miss_told(instrument, telemetry, site):
    instrument()
    connector = aiohttp.TCPConnector(resolver=LoopbackResolver(), use_dns_cache=False)

    async with aiohttp.ClientSession(connector=connector) as session:
        await fetch(session, site.named)

    assert telemetry.span.attributes[DNS] > 0
    assert CACHE_HIT not in telemetry.span.attributes


async def test_a_name_that_does_not_resolve_tells_how_long_that_took(instrument, telemetry, site):
    instrument()
    resolver = LoopbackResolver(LONG)
    resolver.error = OSError("no such host")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(session, site.named)

    attributes = telemetry.span.attributes
    assert attributes[DNS] >= LONG * 0.9
    assert REUSED not in attributes


async def test_a_request_that_finds_no_free_connection_tells_how_long_it_waited(instrument, telemetry, site):
    instrument()
    held = site.hold("/held")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        first = asyncio.create_task(fetch(session, held))
        while len(site.received) < 1:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(fetch(session, site.url))
        await asyncio.sleep(LONG)
        site.release()
        await asyncio.gather(first, second)

    before, queued = telemetry.spans
    assert QUEUE not in before.attributes
    assert LONG * 0.9 <= queued.attributes[QUEUE] <= seconds(queued)
    assert queued.attributes[REUSED] is True


async def test_a_connection_limit_that_times_out_tells_the_wait(instrument, telemetry, site):
    instrument()
    held = site.hold("/held")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        first = asyncio.create_task(fetch(session, held))
        while len(site.received) < 1:
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await session.get(site.url, timeout=aiohttp.ClientTimeout(connect=LONG))
        site.release()
        await first

    assert telemetry.spans[0].attributes[QUEUE] >= LONG * 0.9


async def test_a_connection_that_is_not_made_in_time_tells_the_time(instrument, telemetry, site):
    instrument()
    resolver = LoopbackResolver()
    resolver.answer_now = asyncio.Event()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        with pytest.raises(asyncio.TimeoutError):
            await session.get(site.named, timeout=aiohttp.ClientTimeout(total=LONG))
        resolver.answer_now.set()
        await asyncio.sleep(0)

    attributes = telemetry.span.attributes
    assert attributes[DNS] >= LONG / 2  # the timeout has begun before it
    assert attributes[CONNECT] < LONG


async def test_requests_that_wait_for_the_same_look_up_tell_it_once(instrument, telemetry, site):
    instrument()
    resolver = LoopbackResolver(LONG)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        await asyncio.gather(*(fetch(session, site.named) for _ in range(4)))

    assert resolver.asked == ["service.test"]
    assert sorted(span.attributes[CACHE_HIT] for span in telemetry.spans) == [False, True, True, True]
    (asking,) = (span for span in telemetry.spans if DNS in span.attributes)
    assert asking.attributes[CACHE_HIT] is False


async def test_what_the_shielded_look_up_of_a_cancelled_request_finds_out_disturbs_nobody(instrument, telemetry, site):
    instrument()
    resolver = LoopbackResolver()
    resolver.answer_now = asyncio.Event()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        cancelled = asyncio.create_task(fetch(session, site.named))
        while not resolver.asked:
            await asyncio.sleep(0.001)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        resolver.answer_now.set()
        await fetch(session, site.named)

    first, second = telemetry.spans
    assert first.attributes["hopline.outcome"] == "cancelled"
    assert second.attributes["http.response.status_code"] == 200


@with_tls
async def test_tls_is_part_of_connecting(instrument, telemetry):
    instrument()
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)

    with WebServer(server) as site:
        async with aiohttp.ClientSession() as session, session.get(site.url, ssl=client) as response:
            assert response.status == 200
        while not telemetry.points("http.client.connection.duration"):
            await asyncio.sleep(0.001)  # closing takes TLS some turns of the loop

    attributes = telemetry.span.attributes
    assert 0 < attributes[CONNECT] < attributes[HEADERS]
    assert attributes["network.peer.port"] == attributes["server.port"]


@with_tls
async def test_a_tls_failure_is_told_by_its_exception(instrument, telemetry):
    instrument()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)

    with WebServer(server) as site:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(site.url)

    attributes = telemetry.span.attributes
    assert attributes["error.type"] == "aiohttp.client_exceptions.ClientConnectorCertificateError"
    assert attributes[CONNECT] > 0


async def test_the_peer_of_a_request_through_a_proxy_is_the_proxy(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get("http://service.test/", proxy=site.url):
        pass

    attributes = telemetry.span.attributes
    assert (attributes["server.address"], attributes["server.port"]) == ("service.test", 80)
    assert (attributes["network.peer.address"], attributes["network.peer.port"]) == ("127.0.0.1", site.port)


async def test_a_unix_socket_has_no_peer_address(instrument, telemetry, tmp_path):
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    instrument()
    path = str(tmp_path / "socket")
    server = await asyncio.start_unix_server(handle, path)

    async with server, aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        await fetch(session, "http://localhost/")

    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert "network.peer.address" not in telemetry.span.attributes


def test_a_phase_that_an_error_cuts_off_ends_at_the_same_moment_as_its_attempt(monkeypatch):
    monkeypatch.setattr("hopline.aiohttp_client._progress.perf_counter_ns", itertools.count(1, 10**9).__next__)
    progress, told = Progress(), {}
    progress.make_connection()

    progress.break_off(OSError())
    progress.tell(told)

    assert (told[CONNECT], progress.over) == (1.0, 1 + 10**9)
