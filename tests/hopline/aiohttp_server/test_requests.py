"""One HTTP request to aiohttp's server: its span, its context and its response."""

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractMatchInfo, AbstractRouter
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from hopline import Context
from hopline._guard import stopped_errors
from hopline.aiohttp_server import AioHttpServerInstrumentor
from hopline.request_id import is_valid
from tests.hopline.aiohttp_server.conftest import send, serve

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def hello(request):
    return web.Response(text="hello")


async def say_id(request):
    return web.Response(text=Context.request_id)


@pytest.fixture
def logged(caplog):
    """The lines of some loggers, each with the request id that is current where it is logged."""
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append((record.name, record.getMessage(), Context.request_id))

    handler = Handler()
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.INFO)
    yield lines
    logging.getLogger().removeHandler(handler)


async def test_a_request_makes_one_server_span_with_the_stable_conventions_attributes(instrumented, telemetry):
    async with serve(hello, "/items/{number}") as port:
        fields = ("User-Agent: t/1", "X-Request-Id: abc", f"traceparent: {TRACEPARENT}")
        await send(port, "GET /items/17?x=1&sig=secret HTTP/1.1", *fields)

    span = telemetry.span
    assert (span.name, span.kind) == ("GET /items/{number}", SpanKind.SERVER)
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    attributes = dict(span.attributes)
    assert isinstance(attributes.pop("network.peer.port"), int)
    assert attributes == {
        "code.function.name": f"{__name__}.hello",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/items/{number}",
        "client.address": "127.0.0.1",
        "hopline.request_id": "abc",
        "hopline.server.interface": "aiohttp_server",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "server.address": "shop.example",
        "server.port": 80,
        "url.path": "/items/17",
        "url.query": "x=1&sig=REDACTED",
        "url.scheme": "http",
        "user_agent.original": "t/1",
    }


async def test_the_spans_scope_and_the_metrics_are_this_rooms(instrumented, telemetry):
    async with serve(hello) as port:
        await send(port)

    assert telemetry.span.instrumentation_scope.name == "hopline.aiohttp_server"
    assert telemetry.metric_names == {"http.server.request.duration"}
    span, point = telemetry.span, telemetry.point("http.server.request.duration")
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9)
    assert point.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/",
        "network.protocol.version": "1.1",
        "url.scheme": "http",
    }


async def test_a_request_is_active_while_it_is_served(instrumented, telemetry):
    async def count(request):
        return web.Response(text=str([point.value for point in telemetry.points("http.server.active_requests")]))

    async with serve(count) as port:
        response = await send(port)

    assert response.body == b"[1]"


async def test_a_valid_request_id_is_taken_and_sent_back(instrumented):
    async with serve(say_id) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    assert (response.headers["x-request-id"], response.body) == ("abc", b"abc")


async def test_a_request_without_an_id_gets_one(instrumented):
    async with serve(say_id) as port:
        response = await send(port)

    made = response.headers["x-request-id"]
    assert is_valid(made)
    assert response.body.decode() == made


async def test_an_id_that_the_application_has_set_in_the_header_is_left(instrumented):
    async def handler(request):
        return web.Response(headers={"x-request-id": "mine"})

    async with serve(handler) as port:
        response = await send(port)

    assert response.headers["x-request-id"] == "mine"


async def test_the_requests_of_one_connection_have_a_context_each(instrumented, telemetry):
    async with serve(say_id) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = []
        for name in ("one", "two"):
            writer.write(f"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {name}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            said.append((f"x-request-id: {name}" in head.decode().lower(), await reader.readexactly(3)))
        writer.close()

    assert said == [(True, b"one"), (True, b"two")]
    assert [span.attributes["hopline.request_id"] for span in telemetry.spans] == ["one", "two"]


async def test_a_response_that_another_requests_task_begins_has_the_id_of_its_own_request(instrumented):
    waiting, tasks = asyncio.Queue(), []

    async def answer_all():
        while True:
            request, answered = await waiting.get()
            response = web.StreamResponse()
            await response.prepare(request)
            answered.set_result(response)

    async def handler(request):
        if not tasks:
            tasks.append(asyncio.create_task(answer_all()))
        answered = asyncio.get_running_loop().create_future()
        waiting.put_nowait((request, answered))
        return await answered

    async with serve(handler) as port:
        responses = [await send(port, "GET / HTTP/1.1", f"X-Request-Id: {name}") for name in ("one", "two")]
    tasks[0].cancel()

    assert [response.headers["x-request-id"] for response in responses] == ["one", "two"]


async def test_an_id_that_the_application_has_changed_is_sent_back(instrumented):
    async def handler(request):
        Context.request_id = "mine"
        return web.Response()

    async with serve(handler) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    assert response.headers["x-request-id"] == "mine"


async def test_what_the_handler_starts_belongs_to_the_request(instrumented, telemetry):
    async def handler(request):
        async def work():
            with telemetry.tracer.start_as_current_span("work"):
                return Context.request_id

        return web.Response(text=await asyncio.create_task(work()))

    async with serve(handler) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    work, request = telemetry.spans
    assert response.body == b"abc"
    assert work.parent.span_id == request.context.span_id


async def test_middlewares_and_signals_of_the_application_run_in_the_requests_context(instrumented):
    ids = []

    @web.middleware
    async def middleware(request, handler):
        ids.append(Context.request_id)
        return await handler(request)

    async def on_response_prepare(request, response):
        ids.append(Context.request_id)
        response.headers["X-Seen"] = "1"

    application = web.Application(middlewares=[middleware])
    application.on_response_prepare.append(on_response_prepare)
    application.router.add_get("/", hello)
    async with serve(application) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    assert ids == ["abc", "abc"]
    assert (response.headers["x-seen"], response.headers["x-request-id"]) == ("1", "abc")


async def test_aiohttps_access_log_has_the_requests_id(instrumented, logged):
    async with serve(hello) as port:
        await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    ids = {name: request_id for name, _, request_id in logged}
    assert ids["aiohttp.access"] == "abc"


async def test_each_request_has_one_structured_access_record(instrumented, caplog):
    caplog.set_level(logging.INFO, "hopline.access")

    async with serve(hello, "/items/{number}") as port:
        await send(port, "GET /items/17?x=1 HTTP/1.1", "X-Request-Id: abc")

    (record,) = [record for record in caplog.records if record.name == "hopline.access"]
    told = {name: getattr(record, name) for name in ("method", "path", "status", "length", "request_id")}
    assert told == {"method": "GET", "path": "/items/17", "status": 200, "length": 5, "request_id": "abc"}


async def test_a_streamed_response_carries_the_id_and_its_span_lasts_until_it_is_sent(instrumented, telemetry):
    ended = []

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        ended.append(len(telemetry.spans))
        await response.write_eof(b"two")
        return response

    async with serve(handler) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    assert response.headers["x-request-id"] == "abc"
    assert (ended, len(telemetry.spans)) == ([0], 1)


async def test_a_file_is_sent_as_before_with_the_id(instrumented, telemetry, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"contents")
    application = web.Application()
    application.router.add_static("/files", tmp_path)

    async with serve(application) as port:
        response = await send(port, "GET /files/a.txt HTTP/1.1", "X-Request-Id: abc")

    assert (response.status, response.body, response.headers["x-request-id"]) == (200, b"contents", "abc")
    assert telemetry.span.name == "GET /files"


class Item(web.View):
    async def get(self):
        return web.Response()


@pytest.mark.parametrize(
    ("path", "route", "function"),
    [
        ("/items/17", "/items/{number}", "hello"),
        ("/shop/items/17", "/shop/items/{number}", "Item"),
        ("/nothing", None, None),
    ],
)
async def test_the_route_and_the_view_are_those_of_the_router(instrumented, telemetry, path, route, function):
    application, shop = web.Application(), web.Application()
    application.router.add_get(r"/items/{number:\d+}", hello)
    shop.router.add_view("/items/{number}", Item)
    application.add_subapp("/shop", shop)

    async with serve(application) as port:
        await send(port, f"GET {path} HTTP/1.1")

    attributes = telemetry.span.attributes
    assert attributes.get("http.route") == route
    assert attributes.get("code.function.name") == (function and f"{__name__}.{function}")


class Match(AbstractMatchInfo):
    """What a router of the application's own may find: no more than aiohttp asks for."""

    handler = staticmethod(hello)
    http_exception = None
    apps = _apps = ()

    async def expect_handler(self, request):
        pass

    def get_info(self):
        return {}

    def add_app(self, app):
        pass

    def freeze(self):
        pass


class Router(AbstractRouter):
    async def resolve(self, request):
        return Match()


async def test_a_router_that_knows_no_routes_is_no_hindrance(instrumented, telemetry):
    with pytest.warns(DeprecationWarning, match="router"):
        application = web.Application(router=Router())

    async with serve(application) as port:
        response = await send(port)

    assert (response.body, telemetry.span.name) == (b"hello", "GET")
    assert [point.value for point in telemetry.points("http.server.active_requests")] in ([], [0])
    assert stopped_errors() == {}


async def test_a_server_without_an_application_is_served_as_well(instrumented, telemetry):
    runner = web.ServerRunner(web.Server(say_id))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    response = await send(runner.addresses[0][1], "GET /a HTTP/1.1", "X-Request-Id: abc")
    await runner.cleanup()

    assert (response.headers["x-request-id"], response.body) == ("abc", b"abc")
    assert (telemetry.span.name, telemetry.span.attributes["url.path"]) == ("GET", "/a")


async def test_a_unix_socket_has_no_address_of_a_peer(instrumented, telemetry, tmp_path):
    path = f"{tmp_path}/s"
    runner = web.ServerRunner(web.Server(hello))
    await runner.setup()
    await web.UnixSite(runner, path).start()

    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    await reader.read()
    writer.close()
    await runner.cleanup()

    attributes = telemetry.span.attributes
    assert attributes["network.protocol.version"] == "1.0"
    assert not {"network.peer.address", "client.address", "server.address"} & set(attributes)


@pytest.mark.parametrize(("path", "told"), [("/caf%C3%A9%20x", "/caf%C3%A9%20x"), ("/a{b}|c", "/a%7Bb%7D%7Cc")])
async def test_the_path_is_told_as_it_came_and_encoded(instrumented, telemetry, path, told):
    async with serve(hello, "/{any:.*}") as port:
        await send(port, f"GET {path} HTTP/1.1")

    assert telemetry.span.attributes["url.path"] == told


async def test_bytes_that_are_no_text_can_be_exported(instrument, telemetry):
    instrument(captured_request_headers=["x-odd"])

    async with serve(hello) as port:
        await send(port, "GET / HTTP/1.1", "X-Odd: a\xff", "User-Agent: \xff")

    attributes = telemetry.span.attributes
    assert (attributes["http.request.header.x-odd"], attributes["user_agent.original"]) == (("a\xff",), "\xff")


async def test_an_excluded_url_gets_an_id_and_no_span(instrument, telemetry, caplog):
    instrument(excluded_urls="/health")
    caplog.set_level(logging.INFO, "hopline.access")

    async with serve(say_id, "/health") as port:
        response = await send(port, "GET /health HTTP/1.1", "X-Request-Id: abc")

    assert (response.headers["x-request-id"], response.body) == ("abc", b"abc")
    assert telemetry.spans == telemetry.points("http.server.request.duration") == []
    assert [record for record in caplog.records if record.name == "hopline.access"] == []


async def test_hooks_get_the_span_and_aiohttps_own_objects(instrument, telemetry):
    def response_hook(span, request, response):
        span.set_attribute("seen", f"{request.path} {response.status}")
        response.headers["X-Hook"] = "1"

    instrument(
        request_hook=lambda span, request: span.set_attribute("method", request.method), response_hook=response_hook
    )
    async with serve(hello) as port:
        response = await send(port)

    assert response.headers["x-hook"] == "1"
    assert (telemetry.span.attributes["method"], telemetry.span.attributes["seen"]) == ("GET", "/ 200")


async def test_a_hook_that_raises_changes_nothing_for_the_application(instrument, telemetry):
    instrument(request_hook=lambda span, request: 1 / 0, response_hook=lambda *_: 1 / 0)

    async with serve(hello) as port:
        response = await send(port)

    assert (response.status, response.body, len(telemetry.spans)) == (200, b"hello", 1)


async def test_header_fields_are_captured(instrument, telemetry):
    instrument(captured_request_headers=["accept.*"], captured_response_headers=["content-type"])

    async with serve(hello) as port:
        await send(port, "GET / HTTP/1.1", "Accept: a", "Accept: b")

    attributes = telemetry.span.attributes
    assert attributes["http.request.header.accept"] == ("a", "b")
    assert attributes["http.response.header.content-type"] == ("text/plain; charset=utf-8",)


async def test_nothing_is_told_where_instrumentation_is_suppressed(instrumented, telemetry):
    with suppress_instrumentation():
        async with serve(hello) as port:
            response = await send(port)

    assert "x-request-id" not in response.headers
    assert telemetry.spans == []


async def test_nothing_is_told_once_it_is_uninstrumented(instrument, telemetry):
    instrument()
    AioHttpServerInstrumentor().uninstrument()

    async with serve(hello) as port:
        response = await send(port)

    assert (response.body, "x-request-id" in response.headers, telemetry.spans) == (b"hello", False, [])


async def test_a_server_span_of_another_instrumentation_is_the_requests_one_span(instrumented, telemetry):
    # As of an ASGI or WSGI bridge, which calls the handler's server from within.
    with telemetry.tracer.start_as_current_span("theirs", kind=SpanKind.SERVER):
        async with serve(say_id) as port:
            response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    assert response.body == b"abc"
    assert [span.name for span in telemetry.spans] == ["theirs"]


async def test_nothing_of_the_request_is_left_where_the_server_was_started(instrumented):
    async with serve(hello) as port:
        await send(port)

    assert Context.request_id is None
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_request_that_cannot_be_parsed_is_the_servers_own_matter(instrumented, telemetry):
    async with serve(hello) as port:
        response = await send(port, "GET / HTTP/1.1", "no field")

    assert (response.status, telemetry.spans) == (400, [])


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [(web.HTTPNotFound, 404, None), (web.HTTPFound, 302, None), (web.HTTPServiceUnavailable, 503, "503")],
)
async def test_an_answer_that_is_raised_is_an_answer(instrumented, telemetry, error, status, error_type):
    async def handler(request):
        raise error("/elsewhere") if error is web.HTTPFound else error()

    async with serve(handler) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    span = telemetry.span
    assert (response.status, response.headers["x-request-id"]) == (status, "abc")
    assert (span.attributes["http.response.status_code"], span.attributes.get("error.type")) == (status, error_type)
    assert span.events == ()


async def test_what_the_handler_raises_is_told_and_answered_with_the_id(instrumented, telemetry, logged):
    async def handler(request):
        raise RuntimeError("broken")

    async with serve(handler) as port:
        response = await send(port, "GET / HTTP/1.1", "X-Request-Id: abc")

    span = telemetry.span
    assert (response.status, response.headers["x-request-id"]) == (500, "abc")
    assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (500, "RuntimeError")
    assert (span.status.status_code, [event.name for event in span.events]) == (StatusCode.ERROR, ["exception"])
    assert ("aiohttp.server", "abc") in {(name, request_id) for name, _, request_id in logged}


async def test_an_error_that_is_false_is_told_though_the_server_makes_another_of_it(instrumented, telemetry):
    class NothingFailed(Exception):
        def __len__(self):
            return 0

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        raise NothingFailed

    async with serve(handler) as port:
        await send(port)

    assert telemetry.span.attributes["error.type"].endswith("NothingFailed")


async def test_a_handler_that_takes_too_long_for_itself_is_answered_with_504(instrumented, telemetry):
    async def handler(request):
        raise asyncio.TimeoutError

    async with serve(handler) as port:
        response = await send(port)

    attributes = telemetry.span.attributes
    assert (response.status, attributes["http.response.status_code"]) == (504, 504)
    assert attributes["error.type"].endswith("TimeoutError")  # before Python 3.11 it is asyncio's own


@pytest.mark.skipif(aiohttp.__version__.startswith("3.9."), reason="aiohttp 3.9 hangs up without an answer")
async def test_a_handler_that_returns_nothing_has_failed(instrumented, telemetry):
    async def handler(request):
        pass

    async with serve(handler) as port:
        response = await send(port)

    attributes = telemetry.span.attributes
    assert (response.status, attributes["http.response.status_code"], attributes["error.type"]) == (500, 500, "500")


async def test_an_error_that_keeps_the_server_from_answering_has_no_status(instrumented, telemetry):
    async def refuse(request, response):
        raise RuntimeError("broken")

    application = web.Application()
    application.on_response_prepare.append(refuse)
    application.router.add_get("/", hello)
    async with serve(application) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await reader.read()
        writer.close()

    attributes = telemetry.span.attributes
    assert (answer, attributes["error.type"]) == (b"", "RuntimeError")
    assert "http.response.status_code" not in attributes


async def test_what_is_raised_after_the_response_has_begun_is_told_with_its_status(instrumented, telemetry):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        raise RuntimeError("broken")

    async with serve(handler) as port:
        await send(port)

    attributes = telemetry.span.attributes
    assert (attributes["http.response.status_code"], attributes["error.type"]) == (200, "RuntimeError")
