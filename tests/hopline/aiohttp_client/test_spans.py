"""What a span of one request says, and what the duration histogram says with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp
import pytest
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from opentelemetry.trace import SpanKind, StatusCode
from yarl import URL

import hopline
from tests.web_server import raw_server

DURATION = "http.client.request.duration"


class Broken(Mapping):
    """A mapping that fails whatever it is asked."""

    def __getitem__(self, key):
        raise RuntimeError

    __iter__ = __len__ = __getitem__


async def test_a_request_makes_one_client_span_with_the_stable_attributes(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/users?page=2") as response:
        await response.read()

    span = telemetry.span
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    stable = {name: value for name, value in span.attributes.items() if not name.startswith("hopline.")}
    assert stable == {
        "http.request.method": "GET",
        "url.full": f"{site.url}/users?page=2",
        "server.address": "127.0.0.1",
        "server.port": site.port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": site.port,
    }


async def test_the_span_and_the_histogram_have_the_same_duration(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    point, span = telemetry.point(DURATION), telemetry.span
    assert (point.count, point.sum) == (1, (span.end_time - span.start_time) / 1e9)


async def test_the_exemplar_of_a_duration_leads_to_the_span_of_its_request(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    (exemplar,) = telemetry.point(DURATION).exemplars
    context = telemetry.span.context
    assert (exemplar.trace_id, exemplar.span_id) == (context.trace_id, context.span_id)


async def test_the_server_receives_the_context_and_the_id_of_the_span(instrument, telemetry, site):
    instrument()
    hopline.Context.new("order-17")

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    context = telemetry.span.context
    assert site.header("traceparent")[0].split("-")[1:3] == [f"{context.trace_id:032x}", f"{context.span_id:016x}"]
    assert site.header("X-Request-Id") == [f"{context.span_id:016x}-order-17"]


async def test_a_header_that_the_user_has_set_is_kept(instrument, site):
    instrument()

    async with aiohttp.ClientSession(headers={"x-request-id": "mine"}) as session, session.get(site.url):
        pass

    assert site.received[0].headers.getall("X-Request-Id") == ["mine"]


async def test_credentials_and_signatures_are_not_recorded(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await (await session.get(f"http://user:secret@127.0.0.1:{site.port}/?sig=secret&a=b")).read()

    assert telemetry.span.attributes["url.full"] == f"http://REDACTED:REDACTED@127.0.0.1:{site.port}/?sig=REDACTED&a=b"


@pytest.mark.parametrize("kind", [str, URL])
async def test_a_url_filter_says_which_url_is_recorded(instrument, telemetry, site, kind):
    instrument(url_filter=lambda url: kind(url.with_query(None)))

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/x?token=1"):
        pass

    assert telemetry.span.attributes["url.full"] == f"{site.url}/x"
    assert site.received[0].path == "/x?token=1"


@pytest.mark.parametrize("params", [{"page": 3}, [("page", 3), ("page", 4)], {"size": 5}, "page=3"], ids=repr)
async def test_the_url_that_is_recorded_has_the_query_that_is_sent(instrument, telemetry, site, params):
    instrument()

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/users?page=2", params=params):
        pass

    assert telemetry.span.attributes["url.full"] == site.url + site.received[0].path


async def test_no_url_is_recorded_when_its_filter_fails(instrument, telemetry, site):
    instrument(url_filter=lambda url: url.no_such_thing)

    async with aiohttp.ClientSession() as session, session.get(site.url) as response:
        assert response.status == 200

    assert "url.full" not in telemetry.span.attributes


@pytest.mark.parametrize(("status", "error_type"), [(404, "404"), (500, "500")])
async def test_an_error_status_is_the_error_type(instrument, telemetry, site, status, error_type):
    instrument()
    site.answer("/", status=status)

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert telemetry.span.attributes["error.type"] == error_type


async def test_an_expected_status_is_no_error(instrument, telemetry, site):
    instrument()
    site.answer("/", status=404)

    with hopline.expected_status(404):
        async with aiohttp.ClientSession() as session, session.get(site.url):
            pass

    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in telemetry.span.attributes


async def test_raise_for_status_is_told_with_the_status_and_the_exception(instrument, telemetry, site):
    instrument()
    site.answer("/", status=503)

    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.get(site.url)

    assert telemetry.span.attributes["http.response.status_code"] == 503
    assert telemetry.span.attributes["error.type"] == "aiohttp.client_exceptions.ClientResponseError"


async def test_a_refused_connection_is_told_by_its_exception(instrument, telemetry, unused_port):
    instrument()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{unused_port}/")

    assert telemetry.span.attributes["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert telemetry.point(DURATION).attributes["error.type"] == "aiohttp.client_exceptions.ClientConnectorError"
    assert "hopline.connection.reused" not in telemetry.span.attributes


@pytest.mark.parametrize("answer", [b"not http at all\r\n\r\n", b""])
async def test_a_server_that_does_not_speak_http_is_an_error(instrument, telemetry, answer):
    instrument()

    async with raw_server(answer) as (url, _), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(url)

    assert telemetry.span.status.status_code is StatusCode.ERROR


async def test_the_request_names_the_template_of_its_url(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session:
        await (await session.get(f"{site.url}/users/17", trace_request_ctx={"url_template": "/users/{id}"})).read()

    assert telemetry.span.name == "GET /users/{id}"
    assert telemetry.point(DURATION).attributes["url.template"] == "/users/{id}"


@pytest.mark.parametrize("named", [{"url_templates": "127.0.0.1/users/{id}"}, None], ids=["rule", "block"])
async def test_a_rule_or_a_block_names_the_template_of_its_url(instrument, telemetry, site, named):
    instrument(**(named or {}))

    async with aiohttp.ClientSession() as session:
        if named is None:
            with hopline.url_template("/users/{id}"):
                await (await session.get(f"{site.url}/users/17")).read()
        else:
            await (await session.get(f"{site.url}/users/17")).read()

    assert telemetry.span.name == "GET /users/{id}"


@pytest.mark.parametrize(
    "context", [None, 0, "text", object(), [1], {"url_template": 5}, SimpleNamespace(a=1), Broken()]
)
async def test_trace_request_ctx_may_be_anything_and_reaches_the_users_own_config(instrument, telemetry, site, context):
    seen = []

    async def on_request_start(session, trace_config_ctx, params):
        seen.append(trace_config_ctx.trace_request_ctx)

    users = aiohttp.TraceConfig()
    users.on_request_start.append(on_request_start)
    instrument()

    async with aiohttp.ClientSession(trace_configs=[users]) as session:
        await (await session.get(site.url, trace_request_ctx=context)).read()

    assert seen[0] is context
    assert telemetry.span.name == "GET"


async def test_an_excluded_url_makes_no_span_and_still_carries_ids(instrument, telemetry, site):
    instrument(excluded_urls="/health")

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/health"):
        pass

    assert telemetry.spans == []
    assert site.header("X-Request-Id") != [None]


async def test_the_environment_names_excluded_urls(instrument, telemetry, site, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_AIOHTTP_CLIENT_EXCLUDED_URLS", "health,ping")
    instrument()

    async with aiohttp.ClientSession() as session, session.get(f"{site.url}/ping"):
        pass

    assert telemetry.spans == []


async def test_nothing_is_told_while_http_instrumentation_is_suppressed(instrument, telemetry, site):
    instrument()

    with suppress_http_instrumentation():
        async with aiohttp.ClientSession() as session, session.get(site.url):
            pass

    assert telemetry.spans == []
    assert site.header("traceparent") == [None]


async def test_captured_headers_are_those_on_the_wire(instrument, telemetry, site):
    instrument(
        captured_request_headers=["user-agent", "x-.*"],
        captured_response_headers=["content-type"],
        sensitive_headers="x-secret",
    )

    async with aiohttp.ClientSession() as session, session.get(site.url, headers={"X-Secret": "s", "X-Kept": "k"}):
        pass

    attributes = telemetry.span.attributes
    assert attributes["http.request.header.user-agent"] == tuple(site.header("User-Agent"))
    assert attributes["http.request.header.x-kept"] == ("k",)
    assert attributes["http.request.header.x-secret"] == ("[REDACTED]",)
    assert attributes["http.response.header.content-type"] == ("text/plain; charset=utf-8",)


async def test_a_websocket_handshake_is_a_span_with_status_101_and_no_error(instrument, telemetry, site):
    async def echo(request):
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        await socket.close()
        return socket

    instrument()
    site.on("/ws", echo)

    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/ws") as socket:
        await socket.send_str("hello")
        answer = await socket.receive_str()

    assert answer == "hello"
    assert telemetry.span.attributes["http.response.status_code"] == 101
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.points("hopline.http.client.body.size") == []


async def test_old_names_stand_beside_the_stable_ones_on_request(instrument, telemetry, site, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup")
    instrument()

    async with aiohttp.ClientSession() as session, session.get(site.url):
        pass

    attributes = telemetry.span.attributes
    assert attributes["http.status_code"] == attributes["http.response.status_code"] == 200


async def test_an_unknown_method_is_told_as_other(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.request("BREW", site.url):
        pass

    assert telemetry.span.name == "HTTP"
    assert telemetry.span.attributes["http.request.method_original"] == "BREW"


async def test_no_span_tells_a_path_in_its_name(instrument, telemetry, site):
    instrument()

    async with aiohttp.ClientSession() as session, session.delete(f"{site.url}/users/17"):
        pass

    assert re.fullmatch("[A-Z]+", telemetry.span.name)
