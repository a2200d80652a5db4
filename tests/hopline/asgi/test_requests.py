"""One HTTP request over ASGI: its span, its context, its response, and how it may end."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from copy import deepcopy

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind

from hopline import Context
from hopline.request_id import is_valid
from tests.asgi_gateway import AsgiGateway, hello

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
START = {"type": "http.response.start", "status": 200, "headers": []}


def sending(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def test_a_request_makes_one_server_span_with_the_stable_conventions_attributes(wrap, telemetry):
    headers = {"Host": "Shop.example:8080", "User-Agent": "t/1", "X-Request-Id": "abc", "traceparent": TRACEPARENT}

    AsgiGateway(wrap(hello), path="/items/17", query_string=b"x=1&sig=secret", headers=headers).serve()

    span = telemetry.span
    assert (span.name, span.kind, span.instrumentation_scope.name) == ("GET", SpanKind.SERVER, "hopline.asgi")
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "client.address": "192.0.2.1",
        "hopline.request_id": "abc",
        "hopline.server.interface": "asgi",
        "network.peer.address": "192.0.2.1",
        "network.peer.port": 5000,
        "network.protocol.version": "1.1",
        "server.address": "shop.example",
        "server.port": 8080,
        "url.path": "/items/17",
        "url.query": "x=1&sig=REDACTED",
        "url.scheme": "http",
        "user_agent.original": "t/1",
    }


def test_a_scope_with_nothing_but_what_asgi_demands_is_served(wrap, telemetry):
    scope = {"type": "http", "method": "GET", "path": "/a"}

    async def serve():
        await wrap(hello)(scope, None, send)

    async def send(message):
        pass

    asyncio.run(serve())

    assert telemetry.span.attributes["url.path"] == "/a"
    assert "server.address" not in telemetry.span.attributes


@pytest.mark.parametrize(
    ("path", "raw_path", "told"),
    [
        ("/café x", b"/caf%C3%A9%20x", "/caf%C3%A9%20x"),
        ("/café\n", None, "/caf%C3%A9%0A"),
        ("/a", b"/a\xff\x1b", "/a%FF%1B"),
    ],
)
def test_a_path_is_told_percent_encoded(wrap, telemetry, path, raw_path, told):
    AsgiGateway(wrap(hello), path=path, raw_path=raw_path).serve()

    assert telemetry.span.attributes["url.path"] == told


def test_the_id_is_in_the_context_the_state_and_the_response(wrap):
    seen = []

    async def app(scope, receive, send):
        seen.append((Context.request_id, scope["state"]["request_id"], scope["state"]["database"]))
        await hello(scope, receive, send)

    gateway = AsgiGateway(wrap(app), headers={"X-Request-Id": "abc"}, state={"database": "d"}).serve()

    assert seen == [("abc", "abc", "d")]
    assert gateway.headers == {"content-type": "text/plain", "x-request-id": "abc"}


@pytest.mark.parametrize("hostile", ["x" * 4096, "a\r\nb: c", "a\0b", "caf\xe9\xff", "a%0d%0ab", "%s{0}", "\x1b[31m"])
def test_a_hostile_id_is_replaced_and_neither_echoed_nor_logged(wrap, telemetry, caplog, hostile):
    caplog.set_level(logging.DEBUG)

    gateway = AsgiGateway(wrap(hello), headers={"X-Request-Id": hostile}).serve()

    assert is_valid(gateway.headers["x-request-id"])
    told = [repr(vars(record)) for record in caplog.records] + [repr(dict(telemetry.span.attributes))]
    assert not any(hostile in text or repr(hostile)[1:-1] in text for text in told)


def test_an_id_that_the_application_has_put_on_the_response_stays(wrap):
    app = sending({**START, "headers": [(b"X-Request-Id", b"mine")]}, {"type": "http.response.body"})

    assert AsgiGateway(wrap(app)).serve().headers == {"X-Request-Id": "mine"}


def test_the_message_of_the_application_is_not_changed(wrap):
    message = {"type": "http.response.start", "status": 200, "headers": []}

    AsgiGateway(wrap(sending(message, {"type": "http.response.body"}))).serve()

    assert message == {"type": "http.response.start", "status": 200, "headers": []}


def test_a_response_that_another_requests_task_begins_has_the_id_of_its_own_request(wrap):
    tasks = []

    async def answer_all(waiting):
        while True:
            send, answered = await waiting.get()
            await send(START)
            answered.set_result(None)

    async def serve():
        waiting = asyncio.Queue()

        async def app(scope, receive, send):
            if not tasks:
                tasks.append(asyncio.create_task(answer_all(waiting)))
            answered = asyncio.get_running_loop().create_future()
            waiting.put_nowait((send, answered))
            await answered

        wrapped = wrap(app)
        gateways = [AsgiGateway(wrapped, headers={"X-Request-Id": name}) for name in ("one", "two")]
        for gateway in gateways:
            await gateway.run()
        tasks[0].cancel()
        return [gateway.headers["x-request-id"] for gateway in gateways]

    assert asyncio.run(serve()) == ["one", "two"]


def test_header_fields_that_can_be_read_once_reach_the_server_beside_an_id_of_the_applications_own(wrap):
    fields = iter([(b"set-cookie", b"a=1"), (b"x-request-id", b"mine")])

    gateway = AsgiGateway(wrap(sending({**START, "headers": fields}, {"type": "http.response.body"}))).serve()

    assert gateway.headers == {"set-cookie": "a=1", "x-request-id": "mine"}


def test_header_fields_that_can_be_read_once_reach_the_server_where_there_is_no_id(wrap):
    async def app(scope, receive, send):
        Context.clear()
        await send({**START, "headers": iter([(b"set-cookie", b"a=1")])})
        await send({"type": "http.response.body"})

    assert AsgiGateway(wrap(app)).serve().headers == {"set-cookie": "a=1"}


def test_header_fields_that_cannot_be_read_a_second_time_reach_the_server_even_where_they_are_wrong(wrap):
    fields = iter([(b"set-cookie", b"a=1"), (None, b"no name")])

    gateway = AsgiGateway(wrap(sending({**START, "headers": fields}, {"type": "http.response.body"}))).serve()

    assert gateway.sent[0]["headers"] == [(b"set-cookie", b"a=1"), (None, b"no name")]


def test_header_fields_of_the_request_that_can_be_read_once_reach_the_application(wrap):
    seen = []

    async def app(scope, receive, send):
        seen.extend(scope["headers"])
        await hello(scope, receive, send)

    gateway = AsgiGateway(wrap(app))
    gateway.scope["headers"] = iter([(b"cookie", b"a=1")])
    gateway.serve()

    assert seen == [(b"cookie", b"a=1")]


def test_nothing_stays_attached_in_the_task_of_the_server(wrap):
    async def serve():
        before = dict(otel_context.get_current()), Context.request_id
        await AsgiGateway(wrap(hello)).run()
        return before == (dict(otel_context.get_current()), Context.request_id)

    assert asyncio.run(serve())


def test_requests_served_at_the_same_time_do_not_see_each_other(wrap):
    seen = []

    async def app(scope, receive, send):
        for _ in range(5):
            seen.append((Context.request_id, scope["state"]["request_id"]))
            await asyncio.sleep(0)
        await hello(scope, receive, send)

    async def serve():
        app_ = wrap(app)
        await asyncio.gather(*(AsgiGateway(app_, headers={"X-Request-Id": f"r{n}"}).run() for n in range(20)))

    asyncio.run(serve())

    assert len(seen) == 100
    assert all(there == expected for there, expected in seen)


def test_a_streamed_response_ends_with_its_last_part(wrap, telemetry):
    ended = []
    parts = [{"type": "http.response.body", "body": b"12", "more_body": n < 2} for n in range(3)]
    gateway = AsgiGateway(wrap(sending(START, *parts)))
    gateway.on_send = lambda message: ended.append(len(telemetry.spans))

    gateway.serve()

    assert ended == [0, 0, 0, 0]
    assert len(telemetry.spans) == 1


def test_a_response_with_trailers_ends_with_them(wrap, telemetry):
    at_body = []

    async def app(scope, receive, send):
        await send({**START, "trailers": True})
        await send({"type": "http.response.body"})
        at_body.append(len(telemetry.spans))
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})
        at_body.append(len(telemetry.spans))

    AsgiGateway(wrap(app)).serve()

    assert at_body == [0, 1]


def test_a_file_that_the_server_sends_ends_the_response(wrap, telemetry):
    ended = []

    async def app(scope, receive, send):
        await send(START)
        await send({"type": "http.response.pathsend", "path": "/file"})
        ended.append(len(telemetry.spans))

    AsgiGateway(wrap(app)).serve()

    assert ended == [1]


def test_a_background_task_keeps_the_context_but_not_the_span_open(wrap, telemetry):
    seen = []

    async def app(scope, receive, send):
        await hello(scope, receive, send)
        seen.append((Context.request_id, len(telemetry.spans)))

    AsgiGateway(wrap(app), headers={"X-Request-Id": "abc"}).serve()

    assert seen == [("abc", 1)]


def test_an_application_may_make_a_deep_copy_of_the_scope(wrap, telemetry):
    told = wrap(hello)

    async def copying(scope, receive, send):
        await told(deepcopy(scope), receive, send)

    AsgiGateway(wrap(copying)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("kind", ["http", "lifespan"])
def test_what_the_application_returns_reaches_the_server_which_may_complain_of_it(wrap, kind):
    async def app(scope, receive, send):
        return "no response"

    gateway = AsgiGateway(app, kind=kind)

    assert asyncio.run(wrap(app)(gateway.scope, None, None)) == "no response"


def test_the_lifespan_passes_untouched(wrap, telemetry):
    seen = []

    async def app(*arguments):
        seen.append(arguments)

    scope, receive, send = {"type": "lifespan"}, object(), object()
    asyncio.run(wrap(app)(scope, receive, send))

    assert seen == [(scope, receive, send)]
    assert scope == {"type": "lifespan"}


def test_an_excluded_url_gets_no_span_but_its_id(wrap, telemetry):
    gateway = AsgiGateway(wrap(hello, excluded_urls="/health"), path="/health", headers={"X-Request-Id": "abc"})

    assert gateway.serve().headers["x-request-id"] == "abc"
    assert telemetry.spans == []


def test_the_environment_excludes_urls(wrap, telemetry, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "/health")

    AsgiGateway(wrap(hello), path="/health").serve()

    assert telemetry.spans == []


def test_nothing_is_told_where_instrumentation_is_suppressed(wrap, telemetry):
    gateway = AsgiGateway(wrap(hello))

    with suppress_instrumentation():
        gateway.serve()

    assert telemetry.spans == []
    assert gateway.headers == {"content-type": "text/plain"}


def test_an_application_that_is_wrapped_twice_makes_one_span(wrap, telemetry):
    AsgiGateway(wrap(wrap(hello))).serve()

    assert telemetry.span.kind is SpanKind.SERVER


def test_contribs_middleware_within_ours_makes_internal_spans(wrap, telemetry):
    app = OpenTelemetryMiddleware(hello, tracer_provider=telemetry.tracer_provider)

    AsgiGateway(wrap(app)).serve()

    servers = [span for span in telemetry.spans if span.kind is SpanKind.SERVER]
    assert [span.instrumentation_scope.name for span in servers] == ["hopline.asgi"]


def test_hooks_are_called_with_the_span_and_what_the_server_and_the_application_said(wrap, telemetry):
    def request_hook(span, scope):
        span.set_attribute("path", scope["path"])

    def response_hook(span, scope, status, headers):
        span.set_attribute("answer", f"{scope['path']} {status} {headers[0][0].decode()}")

    AsgiGateway(wrap(hello, request_hook=request_hook, response_hook=response_hook), path="/a").serve()

    assert telemetry.span.attributes["path"] == "/a"
    assert telemetry.span.attributes["answer"] == "/a 200 content-type"


def test_wanted_header_fields_are_captured(wrap, telemetry, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-key")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE", "content-type")

    AsgiGateway(wrap(hello), headers={"X-Key": "k"}).serve()

    assert telemetry.span.attributes["http.request.header.x-key"] == ("k",)
    assert telemetry.span.attributes["http.response.header.content-type"] == ("text/plain",)


def test_a_request_makes_one_access_record(wrap, caplog):
    caplog.set_level(logging.INFO, "hopline.access")
    parts = ({"type": "http.response.body", "body": b"12", "more_body": n < 2} for n in range(3))

    AsgiGateway(wrap(sending(START, *parts)), path="/a", headers={"X-Request-Id": "abc"}).serve()

    (record,) = caplog.records
    assert (record.method, record.path, record.status, record.length, record.request_id) == ("GET", "/a", 200, 6, "abc")


def test_a_response_to_head_has_no_length(wrap, caplog):
    caplog.set_level(logging.INFO, "hopline.access")

    AsgiGateway(wrap(hello), method="HEAD").serve()

    assert caplog.records[0].length == 0


@pytest.mark.parametrize(("fields", "length"), [([(b"Content-Length", b"17")], 17), ([], None)])
def test_the_length_of_a_file_that_the_server_sends_is_the_declared_one(wrap, caplog, fields, length):
    caplog.set_level(logging.INFO, "hopline.access")
    app = sending({**START, "headers": fields}, {"type": "http.response.pathsend", "path": "/file"})

    AsgiGateway(wrap(app)).serve()

    assert caplog.records[0].length == length


def test_what_the_application_leaves_attached_ends_with_the_request(wrap):
    async def app(scope, receive, send):
        otel_context.attach(otel_context.set_value("left", "behind"))
        await hello(scope, receive, send)

    async def serve():
        await AsgiGateway(wrap(app)).run()
        return otel_context.get_value("left"), trace.get_current_span().get_span_context().is_valid

    assert asyncio.run(serve()) == (None, False)


def test_what_a_request_has_held_is_let_go_without_the_garbage_collector(wrap):
    class Held:
        pass

    async def serve():
        gc.collect()
        held = Held()
        reference = weakref.ref(held)
        await wrap(hello)({"type": "http", "method": "GET", "path": "/", "held": held}, None, send)
        del held
        return reference() is None

    async def send(message):
        pass

    gc.disable()
    try:
        assert asyncio.run(serve())
    finally:
        gc.enable()


def test_an_error_of_ours_leaves_the_application_as_it_is(wrap, caplog):
    assert AsgiGateway(wrap(hello), query_string=7).serve().body == b"hello"
    assert "the application goes on" in caplog.text
