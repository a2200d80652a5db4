"""Client middlewares that sign the header: what they have signed is what is sent."""

from __future__ import annotations

from hashlib import sha256

import aiohttp
import pytest
from aiohttp import web

from tests.web_server import raw_server

if not hasattr(aiohttp, "DigestAuthMiddleware"):
    pytest.skip("aiohttp has client middlewares from 3.12 on", allow_module_level=True)


def signature(headers, names):
    return sha256("".join(f"{name}:{headers[name]};" for name in names).encode()).hexdigest()


def is_signed(headers):
    names = headers["X-Signed"].split(",")
    return "x-request-id" in names and headers["X-Signature"] == signature(headers, names)


async def sign(request, handler):
    """Sign all of the header, as a signature of AWS's or of RFC 9421 does."""
    names = sorted({name.lower() for name in request.headers} - {"x-signed", "x-signature"})
    request.headers["X-Signed"] = ",".join(names)
    request.headers["X-Signature"] = signature(request.headers, names)
    return await handler(request)


async def retry(request, handler):
    response = await handler(request)
    if response.status == 503:
        response.release()
        response = await handler(request)
    return response


async def sign_and_retry(request, handler):
    async def signed(request):
        return await sign(request, handler)

    return await retry(request, signed)


async def pass_on(request, handler):
    return await handler(request)


def unavailable_at_first(site):
    async def handler(request):
        return web.Response(status=503 if len(site.received) == 1 else 200)

    return site.on("/", handler)


def signed(site):
    return [is_signed(request.headers) for request in site.received]


def span_ids(telemetry):
    return [f"{span.context.span_id:016x}" for span in telemetry.spans]


def sent_span_ids(site):
    return [value.split("-")[2] for value in site.header("traceparent")]


async def fetch(url, *middlewares):
    async with aiohttp.ClientSession(middlewares=middlewares) as session, session.get(url) as response:
        return await response.read()


async def test_a_redirect_hop_is_signed_with_its_own_ids(instrument, telemetry, site):
    instrument()

    await fetch(site.redirect("/a", "/b"), sign)

    assert signed(site) == [True, True]
    assert sent_span_ids(site) == span_ids(telemetry)


async def test_a_retry_on_a_stale_connection_is_signed_with_its_own_ids(instrument, telemetry):
    def header(received):
        lines = received.decode().split("\r\n")[1:-2]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    instrument()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    async with (
        raw_server(answer, wait=True) as (url, received),
        aiohttp.ClientSession(middlewares=[sign]) as session,
    ):
        for _ in range(2):
            async with session.get(url) as response:
                assert response.status == 200

    sent = [header(each) for each in received]
    assert [
        each["x-signature"] == signature(each, each["x-signed"].split(",")) and each["traceparent"].split("-")[2]
        for each in sent
    ] == span_ids(telemetry)


@pytest.mark.parametrize("middlewares", [[retry, sign], [retry, pass_on, sign], [pass_on, retry, sign, pass_on]])
async def test_a_retry_around_a_middleware_that_signs_is_signed_with_its_own_ids(
    instrument, telemetry, site, middlewares
):
    instrument()

    await fetch(unavailable_at_first(site), *middlewares)

    assert signed(site) == [True, True]
    assert sent_span_ids(site) == span_ids(telemetry)


@pytest.mark.parametrize("middlewares", [[retry], [retry, pass_on], [pass_on, retry]])
async def test_a_retry_without_a_signature_has_its_own_ids(instrument, telemetry, site, middlewares):
    instrument()

    await fetch(unavailable_at_first(site), *middlewares)

    assert sent_span_ids(site) == span_ids(telemetry)


with_what_sends_again_what_has_been_signed = pytest.mark.parametrize(
    "middlewares", [[sign, retry], [sign, retry, pass_on], [sign_and_retry], [sign_and_retry, pass_on]]
)


@with_what_sends_again_what_has_been_signed
async def test_what_is_sent_again_stays_as_it_was_signed(instrument, site, middlewares):
    instrument()

    await fetch(unavailable_at_first(site), *middlewares)

    assert signed(site) == [True, True]


@with_what_sends_again_what_has_been_signed
async def test_what_is_sent_again_as_it_was_signed_is_told_with_the_request_id_that_was_sent(
    instrument, telemetry, site, middlewares
):
    instrument()

    await fetch(unavailable_at_first(site), *middlewares)

    assert [span.attributes["hopline.request_id"] for span in telemetry.spans] == site.header("X-Request-Id")


@with_what_sends_again_what_has_been_signed
async def test_no_hook_changes_what_is_sent_again_as_it_was_signed(instrument, site, middlewares):
    instrument(request_hook=lambda span, params: params.headers.update({"X-Hook": str(len(site.received))}))

    await fetch(unavailable_at_first(site), *middlewares)

    assert signed(site) == [True, True]


@with_what_sends_again_what_has_been_signed
async def test_what_is_sent_again_to_an_excluded_url_stays_as_it_was_signed(instrument, site, middlewares):
    instrument(excluded_urls="127.0.0.1")

    await fetch(unavailable_at_first(site), *middlewares)

    assert signed(site) == [True, True]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "Digest"])
async def test_a_retry_within_what_adds_credentials_that_sign_nothing_has_its_own_ids(
    instrument, telemetry, site, scheme
):
    async def authorize(request, handler):
        request.headers["Authorization"] = f"{scheme} x"
        return await handler(request)

    instrument()

    await fetch(unavailable_at_first(site), authorize, retry)

    assert sent_span_ids(site) == span_ids(telemetry)


async def test_what_has_been_signed_does_not_go_to_another_host_that_may_not_have_it(instrument, site, other_site):
    async def turn_to_the_other(request, handler):
        response = await handler(request)
        response.release()
        request.url = request.url.with_host("localhost").with_port(other_site.port)
        return await handler(request)

    instrument(propagate_trace="127.0.0.1")

    await fetch(site.url, sign, turn_to_the_other)

    assert other_site.header("traceparent") == [None]
