"""One span for each request on the wire: redirect hops, authentication resends and aiohttp's own retry."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.trace import StatusCode

from hopline import Context
from tests.web_server import raw_server

RESEND_COUNT = "http.request.resend_count"
STATUS = "http.response.status_code"

with_middlewares = pytest.mark.skipif(
    not hasattr(aiohttp, "DigestAuthMiddleware"), reason="aiohttp has client middlewares from 3.12 on"
)
with_retry = pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 10), reason="aiohttp tries again from 3.10 on"
)


def span_ids(telemetry):
    return [f"{span.context.span_id:016x}" for span in telemetry.spans]


def sent_span_ids(site):
    return [value.split("-")[2] for value in site.header("traceparent")]


async def test_each_redirect_hop_is_a_sibling_span_with_its_own_ids_on_the_wire(instrument, telemetry, site):
    instrument()
    Context.new("order-17")
    site.redirect("/a", "/b")
    site.redirect("/b", "/c")

    with telemetry.tracer.start_as_current_span("caller"):
        async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a") as response:
            await response.read()

    *hops, caller = telemetry.spans
    assert [hop.parent.span_id for hop in hops] == [caller.context.span_id] * 3
    assert [hop.attributes["url.full"] for hop in hops] == [f"{site.url}/{path}" for path in "abc"]
    assert [hop.attributes[STATUS] for hop in hops] == [302, 302, 200]
    assert [hop.attributes.get(RESEND_COUNT) for hop in hops] == [None, 1, 2]
    assert sent_span_ids(site) == span_ids(telemetry)[:3]
    assert site.header("X-Request-Id") == [f"{each}-order-17" for each in span_ids(telemetry)[:3]]


async def test_each_hop_has_its_own_phases_and_duration(instrument, telemetry, site):
    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a"):
        pass

    first, second = telemetry.spans
    assert first.attributes["hopline.connection.reused"] is False
    assert second.attributes["hopline.connection.reused"] is True
    assert first.end_time <= second.start_time
    assert [point.count for point in telemetry.points("http.client.request.duration")] == [1, 1]


async def test_a_hop_to_a_host_that_may_not_have_a_header_does_not_carry_it(instrument, site, other_site):
    instrument(propagate_trace="127.0.0.1", propagate_request_id="!127.0.0.1")
    site.redirect("/a", f"http://localhost:{other_site.port}/b")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a"):
        pass

    assert [value is None for value in (*site.header("traceparent"), *site.header("X-Request-Id"))] == [False, True]
    assert [value is None for value in (*other_site.header("traceparent"), *other_site.header("X-Request-Id"))] == [
        True,
        False,
    ]


async def test_a_header_that_the_user_has_set_stays_on_every_hop(instrument, site):
    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a", headers={"X-Request-Id": "mine"}):
        pass

    assert site.header("X-Request-Id") == ["mine", "mine"]


async def test_a_hop_keeps_or_changes_the_method_as_aiohttp_does(instrument, telemetry, site):
    instrument()
    site.redirect("/see-other", "/", 303)
    site.redirect("/same", "/", 307)

    async with aiohttp.ClientSession() as session:
        await (await session.post(f"{site.url}/see-other", data=b"x")).read()
        await (await session.post(f"{site.url}/same", data=b"x")).read()

    assert [span.name for span in telemetry.spans] == ["POST", "GET", "POST", "POST"]


async def test_a_hop_to_an_excluded_url_has_no_span_and_carries_ids_only_if_it_may(instrument, telemetry, site):
    instrument(excluded_urls="/hidden", propagate_to_excluded=False)
    site.redirect("/a", "/hidden")
    site.redirect("/hidden", "/c")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a"):
        pass

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{site.url}/a", f"{site.url}/c"]
    assert [value is None for value in site.header("traceparent")] == [False, True, False]


async def test_a_redirect_from_an_excluded_url_is_still_subject_to_what_a_host_may_have(
    instrument, telemetry, site, other_site
):
    instrument(excluded_urls="/hidden", propagate_trace="127.0.0.1")
    site.redirect("/hidden", f"http://localhost:{other_site.port}/b")

    with telemetry.tracer.start_as_current_span("caller"):
        async with aiohttp.ClientSession() as session, session.get(f"{site.url}/hidden"):
            pass

    assert site.header("traceparent") != [None]
    assert other_site.header("traceparent") == [None]


async def test_too_many_redirects_is_an_error_of_the_last_hop_and_no_further_span(instrument, telemetry, site):
    instrument()
    site.redirect("/a", "/a")

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.TooManyRedirects):
            await session.get(f"{site.url}/a", max_redirects=2)

    first, last = telemetry.spans
    assert first.status.status_code is StatusCode.UNSET
    assert last.attributes["error.type"] == "aiohttp.client_exceptions.TooManyRedirects"
    assert last.attributes[STATUS] == 302


async def test_a_redirect_to_nowhere_is_an_error_of_the_hop_that_sent_it(instrument, telemetry, site):
    instrument()
    site.redirect("/a", "ftp://example.test/")

    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await session.get(f"{site.url}/a")

    assert telemetry.span.attributes[STATUS] == 302
    assert telemetry.span.status.status_code is StatusCode.ERROR


async def test_a_redirect_without_a_location_is_the_response(instrument, telemetry, site):
    instrument()
    site.answer("/a", status=302)

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a") as response:
        assert response.status == 302

    assert telemetry.span.attributes[STATUS] == 302


async def test_a_redirect_that_the_caller_does_not_want_followed_is_one_span(instrument, telemetry, site):
    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/a", allow_redirects=False):
        pass

    assert telemetry.span.attributes[STATUS] == 302


async def test_a_hop_to_a_port_where_nobody_listens_is_a_span_of_its_own(instrument, telemetry, site, unused_port):
    instrument()
    site.redirect("/a", f"http://127.0.0.1:{unused_port}/b")

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{site.url}/a")

    first, second = telemetry.spans
    assert first.attributes[STATUS] == 302
    assert second.attributes["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert second.attributes["server.port"] == unused_port


@with_middlewares
async def test_an_authentication_resend_is_a_span_of_its_own_with_its_own_ids(instrument, telemetry, site):
    async def challenge(request):
        if "Authorization" in request.headers:
            return web.Response(text="welcome")
        return web.Response(status=401, headers={"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})

    instrument()
    site.on("/", challenge)
    digest = aiohttp.DigestAuthMiddleware(login="user", password="secret")

    async with aiohttp.ClientSession(middlewares=[digest]) as session, session.get(site.url) as response:
        assert response.status == 200

    assert [span.attributes[STATUS] for span in telemetry.spans] == [401, 200]
    assert [span.attributes.get(RESEND_COUNT) for span in telemetry.spans] == [None, 1]
    assert sent_span_ids(site) == span_ids(telemetry)


@with_middlewares
async def test_what_a_middleware_waits_between_two_attempts_belongs_to_neither(instrument, telemetry, site):
    pause = 0.3

    async def once_more(request, handler):
        response = await handler(request)
        await asyncio.sleep(pause)
        response.release()
        return await handler(request)

    instrument()

    async with aiohttp.ClientSession(middlewares=[once_more]) as session, session.get(site.url):
        pass

    first, second = telemetry.spans
    assert second.start_time - first.end_time >= pause * 0.99e9


@with_middlewares
async def test_a_middleware_that_tries_again_after_an_error_makes_a_span_for_each_try(
    instrument, telemetry, unused_port
):
    async def three_times(request, handler):
        for _ in range(2):
            with suppress(aiohttp.ClientConnectionError):
                return await handler(request)
        return await handler(request)

    instrument()

    async with aiohttp.ClientSession(middlewares=[three_times]) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{unused_port}/")

    assert [span.status.status_code for span in telemetry.spans] == [StatusCode.ERROR] * 3
    assert [span.attributes.get(RESEND_COUNT) for span in telemetry.spans] == [None, 1, 2]


@with_middlewares
async def test_a_response_that_a_middleware_makes_up_without_a_request_ends_the_span(instrument, telemetry, site):
    async def refusing(request, handler):
        raise aiohttp.ClientError("not today")

    instrument()

    async with aiohttp.ClientSession(middlewares=[refusing]) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(site.url)

    assert telemetry.span.attributes["error.type"] == "aiohttp.client_exceptions.ClientError"
    assert site.received == []


@with_retry
async def test_a_retry_on_a_stale_connection_is_a_span_of_its_own(instrument, telemetry):
    instrument()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async with raw_server(answer, wait=True) as (url, received), aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url) as response:
                assert response.status == 200

    _, broken, retried = telemetry.spans
    assert broken.attributes["error.type"] == "aiohttp.client_exceptions.ServerDisconnectedError"
    assert retried.attributes[STATUS] == 200
    assert retried.attributes[RESEND_COUNT] == 1
    sent = [request.lower().partition(b"traceparent: 00-")[2][33:49].decode() for request in received]
    assert sent == span_ids(telemetry)


async def test_each_attempt_through_a_proxy_that_hangs_up_is_told_by_its_own_error(instrument, telemetry):
    instrument()

    async with raw_server(b"") as (proxy, _), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get("https://service.test/", proxy=proxy)

    disconnected = "aiohttp.client_exceptions.ServerDisconnectedError"
    assert {span.attributes["error.type"] for span in telemetry.spans} == {disconnected}


async def test_a_connector_of_the_applications_own_makes_no_difference(instrument, telemetry, site):
    class Own(aiohttp.TCPConnector):
        async def connect(self, req, traces, timeout):
            return await super().connect(req, traces, timeout)

    instrument()
    site.redirect("/a", "/b")

    async with aiohttp.ClientSession(connector=Own()) as session, session.get(f"{site.url}/a"):
        pass

    assert [span.attributes[STATUS] for span in telemetry.spans] == [302, 200]
