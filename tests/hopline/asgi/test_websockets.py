"""One WebSocket connection over ASGI: one span for all of it."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode

from hopline import Context
from tests.asgi_gateway import AsgiGateway
from tests.sites import asgi_site

CLOSE_CODE = "hopline.websocket.close_code"


def connection(app, *texts, code=1000):
    gateway = AsgiGateway(app, path="/chat", kind="websocket", headers={"X-Request-Id": "abc"})
    gateway.incoming += [{"type": "websocket.receive", "text": text} for text in texts]
    gateway.incoming.append({"type": "websocket.disconnect", "code": code})
    return gateway


def test_a_connection_is_one_span_from_its_handshake_to_its_close(wrap, telemetry):
    gateway = connection(wrap(asgi_site.app), "a", "b").serve()

    span = telemetry.span
    assert (span.name, span.attributes["http.request.method"], span.attributes["url.scheme"]) == ("GET", "GET", "ws")
    assert span.attributes["http.response.status_code"] == 101
    assert span.attributes[CLOSE_CODE] == 1000
    assert [message.get("text") for message in gateway.sent[1:]] == ["a abc", "b abc"]


def test_the_handshake_carries_the_id_back(wrap):
    assert connection(wrap(asgi_site.app)).serve().headers == {"x-request-id": "abc"}


def test_a_connection_is_no_request_of_which_durations_are_measured(wrap, telemetry):
    connection(wrap(asgi_site.app)).serve()

    assert telemetry.points("http.server.request.duration") == []
    assert telemetry.points("http.server.active_requests") == []


def test_a_connection_that_is_not_accepted_is_told_as_the_403_that_the_server_sends(wrap, telemetry):
    async def app(scope, receive, send):
        await send({"type": "websocket.close", "code": 1008})

    connection(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 403
    assert telemetry.span.attributes[CLOSE_CODE] == 1008


def test_a_handshake_that_is_denied_with_a_response_has_its_status(wrap, telemetry):
    async def app(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who?"})

    gateway = connection(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 401
    assert gateway.headers == {"x-request-id": "abc"}


def test_a_close_by_the_application_is_told_with_its_code(wrap, telemetry):
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000})

    connection(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 101
    assert telemetry.span.attributes[CLOSE_CODE] == 4000


def test_an_exception_ends_the_connection_as_an_error(wrap, telemetry):
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        connection(wrap(app)).serve()

    assert telemetry.span.attributes["error.type"] == "RuntimeError"
    assert Context.request_id is None


def test_a_frameworks_exception_for_a_client_that_has_left_is_no_error(wrap, telemetry):
    class WebSocketDisconnect(Exception):
        pass

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect):
        connection(wrap(app), code=1001).serve()

    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.span.attributes[CLOSE_CODE] == 1001


def test_a_client_that_leaves_before_it_is_accepted_is_no_error(wrap, telemetry):
    async def app(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass

    connection(wrap(app), code=1006).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert "http.response.status_code" not in telemetry.span.attributes
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_a_refusal_that_nobody_gets_is_none(wrap, telemetry):
    async def app(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            pass
        await send({"type": "websocket.close", "code": 1008})

    connection(wrap(app), code=1006).serve()

    assert telemetry.span.attributes["hopline.outcome"] == "disconnected"
    assert telemetry.span.attributes[CLOSE_CODE] == 1006


@pytest.mark.parametrize(
    "refusal",
    [
        [{"type": "websocket.close", "code": 1008}],
        [
            {"type": "websocket.http.response.start", "status": 401, "headers": []},
            {"type": "websocket.http.response.body", "body": b"who?"},
        ],
    ],
    ids=["closed", "denied"],
)
def test_a_client_that_leaves_once_it_has_been_refused_has_been_answered(wrap, telemetry, refusal):
    async def app(scope, receive, send):
        for message in refusal:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    connection(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] in (401, 403)
    assert "hopline.outcome" not in telemetry.span.attributes
