"""Many requests in one loop, cancelled ones and late ones: each tells its own, and none leaves anything behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

import aiohttp
import pytest
from opentelemetry.context import get_current
from opentelemetry.trace import StatusCode

from hopline import Context
from hopline.aiohttp_client import create_trace_config
from tests.resolvers import LoopbackResolver

OUTCOME = "hopline.outcome"
DURATION = "http.client.request.duration"
SHORT = 0.1


async def fetch(session, url, **options):
    async with session.get(url, **options) as response:
        return await response.read()


async def received(site, number):
    while len(site.received) < number:
        await asyncio.sleep(0.001)


async def test_a_thousand_requests_at_once_each_have_their_parent_and_their_id(instrument, telemetry, site):
    instrument()
    number, limit = 1000, 20

    async def serve_one(session, name):
        Context.new(f"job-{name}")
        with telemetry.tracer.start_as_current_span(f"job-{name}"):
            before = get_current()
            await fetch(session, f"{site.url}/{name}")
            assert get_current() is before

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit)) as session:
        await asyncio.gather(*(asyncio.create_task(serve_one(session, name)) for name in range(number)))

    jobs = {span.context.span_id: span.name for span in telemetry.spans if span.name.startswith("job-")}
    requests = {
        f"{span.context.span_id:016x}": (jobs[span.parent.span_id], span.attributes["url.full"])
        for span in telemetry.spans
        if span.name == "GET"
    }
    assert len(requests) == number
    assert all(url == f"{site.url}/{job[4:]}" for job, url in requests.values())
    assert {request.headers["X-Request-Id"] for request in site.received} == {
        f"{span_id}-{job}" for span_id, (job, _) in requests.items()
    }
    queued = [span for span in telemetry.spans if "hopline.phase.queue" in span.attributes]
    assert len(queued) == telemetry.point("hopline.http.client.queued").value >= number - limit
    assert telemetry.point("hopline.http.client.connections.created").value <= limit


async def cancelled_before_it_is_sent(session, site):
    task = asyncio.create_task(fetch(session, site.named))
    while not session.connector._resolver.asked:
        await asyncio.sleep(0.001)
    return task


async def cancelled_in_the_queue(session, site):
    holding = asyncio.create_task(fetch(session, site.hold("/held")))
    await received(site, 1)
    task = asyncio.create_task(fetch(session, site.hold("/held")))
    while not session.connector._waiters:
        await asyncio.sleep(0.001)
    task.add_done_callback(lambda _: holding.cancel())
    return task


async def cancelled_before_the_header(session, site):
    task = asyncio.create_task(fetch(session, site.hold("/held")))
    await received(site, 1)
    return task


async def cancelled_while_it_sends(session, site):
    sending = asyncio.Event()

    async def endless():
        while True:
            yield b"x"
            sending.set()
            await asyncio.sleep(0.001)

    # Nobody accepts: aiohttp's own server leaves the transport of such a client unclosed.
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    task = asyncio.create_task(session._request("POST", url, data=endless()))
    await sending.wait()
    task.add_done_callback(lambda _: silent.close())
    return task


async def cancelled_in_the_tls_handshake(session, site):
    def close(_):
        accepted.close()
        silent.close()

    silent = socket.create_server(("127.0.0.1", 0))
    silent.setblocking(False)
    task = asyncio.create_task(fetch(session, f"https://127.0.0.1:{silent.getsockname()[1]}/"))
    accepted, _ = await asyncio.get_running_loop().sock_accept(silent)
    task.add_done_callback(close)
    return task


@pytest.mark.parametrize(
    "begin",
    [
        cancelled_before_it_is_sent,
        cancelled_in_the_queue,
        cancelled_in_the_tls_handshake,
        cancelled_while_it_sends,
        cancelled_before_the_header,
    ],
)
async def test_a_cancelled_request_is_measured_and_no_error(instrument, telemetry, site, begin):
    instrument()
    resolver = LoopbackResolver()
    resolver.answer_now = asyncio.Event()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1, resolver=resolver)) as session:
        before = get_current()
        task = await begin(session, site)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert get_current() is before
        resolver.answer_now.set()

    span = telemetry.spans[0]
    assert span.attributes[OUTCOME] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in span.attributes
    assert telemetry.points(DURATION)[0].attributes[OUTCOME] == "cancelled"
    assert (
        telemetry.points("http.client.active_requests") == []
        or telemetry.point("http.client.active_requests").value == 0
    )


async def test_a_request_that_a_receiver_after_ours_stops_leaves_nothing_active(telemetry, site):
    class OwnError(Exception):
        pass

    async def stop(*_):
        raise OwnError

    users = aiohttp.TraceConfig()
    users.on_request_start.append(stop)
    configs = [create_trace_config(**telemetry.providers), users]

    async with aiohttp.ClientSession(trace_configs=configs) as session:
        with pytest.raises(OwnError) as raised:
            await fetch(session, site.url)
        del raised  # its traceback holds the request
        gc.collect()
        while not telemetry.spans:
            await asyncio.sleep(0.001)

    assert len(telemetry.spans) == 1
    assert [point.value for point in telemetry.points("http.client.active_requests") if point.value] == []


async def test_a_request_that_is_given_up_without_being_awaited_to_its_end_is_cancelled(instrument, telemetry, site):
    instrument()
    connector = aiohttp.TCPConnector(resolver=LoopbackResolver(), use_dns_cache=False)

    async with aiohttp.ClientSession(connector=connector) as session:
        request = session._request("GET", site.named)
        request.send(None)
        request.close()

    assert telemetry.span.attributes[OUTCOME] == "cancelled"


@pytest.mark.parametrize(
    ("limits", "error_type"),
    [
        ({"total": SHORT}, "TimeoutError"),
        ({"sock_read": SHORT}, "aiohttp.client_exceptions."),
    ],
)
async def test_a_timeout_of_aiohttp_is_an_error(instrument, telemetry, site, limits, error_type):
    instrument()

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(**limits)) as session:
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.hold("/held"))

    span = telemetry.span
    assert span.status.status_code is StatusCode.ERROR
    assert error_type in span.attributes["error.type"]
    assert span.attributes["error.type"].endswith("TimeoutError")
    assert OUTCOME not in span.attributes


async def test_a_timeout_while_queueing_is_an_error(instrument, telemetry, site):
    instrument()
    connector = aiohttp.TCPConnector(limit=1)

    async with aiohttp.ClientSession(connector=connector) as session:
        holding = asyncio.create_task(fetch(session, site.hold("/held")))
        await received(site, 1)
        with pytest.raises(asyncio.TimeoutError):
            await fetch(session, site.url, timeout=aiohttp.ClientTimeout(total=SHORT))
        site.release()
        await holding

    assert telemetry.spans[0].attributes["error.type"].endswith("TimeoutError")
    assert telemetry.spans[0].attributes["hopline.phase.queue"] >= SHORT * 0.9


async def test_a_wait_that_the_caller_gives_up_is_a_cancellation(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fetch(session, site.hold("/held")), SHORT)

    assert telemetry.span.attributes[OUTCOME] == "cancelled"


async def test_nothing_is_attached_in_the_task_after_a_request(instrument, telemetry, site, unused_port):
    instrument(request_hook=lambda *_: 1 / 0, response_hook=lambda *_: 1 / 0)

    with telemetry.tracer.start_as_current_span("caller"):
        before = get_current()
        async with aiohttp.ClientSession() as session:
            await fetch(session, site.url)
            assert get_current() is before
            with pytest.raises(aiohttp.ClientError):
                await fetch(session, f"http://127.0.0.1:{unused_port}")
            assert get_current() is before
            with pytest.raises(asyncio.TimeoutError):
                await fetch(session, site.hold("/held"), timeout=aiohttp.ClientTimeout(total=SHORT))
            assert get_current() is before


async def test_a_request_sees_the_callers_span_all_along(instrument, telemetry, site):
    instrument()
    seen = []

    async def note(session, context, params):
        seen.append(get_current())

    users = aiohttp.TraceConfig()
    for signal in ("on_request_start", "on_request_headers_sent", "on_request_end"):
        getattr(users, signal).append(note)

    async with aiohttp.ClientSession(trace_configs=[users]) as session:
        with telemetry.tracer.start_as_current_span("caller"):
            before = get_current()
            await fetch(session, site.url)

    assert seen == [before] * 3


async def test_a_response_that_is_consumed_in_another_task_is_no_problem(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        response = await asyncio.create_task(session._request("GET", site.hold_body("/")))
        reading = asyncio.create_task(response.read())
        site.release()
        assert await reading == b""

    assert telemetry.span.attributes["http.response.status_code"] == 200


@pytest.mark.skipif(sys.version_info < (3, 11), reason="task groups came with Python 3.11")
async def test_a_task_group_that_fails_cancels_its_other_requests(instrument, telemetry, site, unused_port):
    async def fetch_together(session, site, other):
        async with asyncio.TaskGroup() as group:
            group.create_task(fetch(session, site.hold("/held")))
            await received(site, 1)
            group.create_task(fetch(session, other))

    instrument()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(ExceptionGroup):  # noqa: F821
            await fetch_together(session, site, f"http://127.0.0.1:{unused_port}")

    by_outcome = {span.attributes.get(OUTCOME, "error"): span.status.status_code for span in telemetry.spans}
    assert by_outcome == {"error": StatusCode.ERROR, "cancelled": StatusCode.UNSET}
