"""The route and the view that an ASGI framework has found, also where others instrument it too."""

from __future__ import annotations

import http.client
from inspect import signature

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.trace import SpanKind
from websockets.sync.client import connect

from tests.asgi_gateway import AsgiGateway
from tests.collector import Collector
from tests.hopline.wsgi.test_servers import get
from tests.programs import Program, environment, instrumented
from tests.servers import free_port
from tests.sites import asgi_frameworks_site

pytestmark = pytest.mark.processes

SERVE = "import uvicorn; uvicorn.run(make_app(), port={port})"


@pytest.fixture(scope="module")
def app():
    return asgi_frameworks_site.make_app()


each_view = pytest.mark.parametrize(
    ("path", "route", "function"),
    [
        ("/items/17", "/items/{number}", "asgi_frameworks_site.item"),
        ("/shelf", "/shelf", "asgi_frameworks_site.Shelf"),
        ("/catalog", "/catalog", "asgi_frameworks_site.Catalog"),
        ("/acme/fastapi/v1/items/17", "/{tenant}/fastapi/v1/items/{number}", "make_fastapi.<locals>.item"),
        ("/django/items/17/", "/django/items/<int:number>/", "django_site.item"),
    ],
)


@each_view
def test_the_route_names_the_span_and_the_view_is_told(wrap, telemetry, app, path, route, function):
    gateway = AsgiGateway(wrap(app), path=path, raw_path=path.encode())
    gateway.leaves = False

    gateway.serve()

    span = telemetry.spans[-1]
    assert span.name == f"GET {route}"
    assert span.attributes["code.function.name"].endswith(function)
    assert span.attributes["http.response.status_code"] == 200


def test_the_root_path_of_the_server_is_part_of_the_route(wrap, telemetry, app):
    AsgiGateway(wrap(app), path="/root/items/17", root_path="/root").serve()

    assert telemetry.span.attributes["http.route"] == "/root/items/{number}"


@each_view
def test_a_route_is_known_behind_a_middleware_that_copies_the_scope(wrap, telemetry, app, path, route, function):
    async def copying(scope, receive, send):
        await app({**scope}, receive, send)

    AsgiGateway(wrap(copying), path=path).serve()

    assert telemetry.span.attributes["http.route"] == route
    assert telemetry.span.attributes["code.function.name"].endswith(function)


@each_view
def test_a_route_is_known_behind_a_middleware_that_calls_the_application_twice(
    wrap, telemetry, app, path, route, function
):
    async def trying(scope, receive, send):
        for first in ("/shelf", "/acme/fastapi/none", path):
            attempt = AsgiGateway(app)
            attempt.scope = {**scope, "path": first}
            await attempt.run()
        await app({**scope}, receive, send)

    AsgiGateway(wrap(trying), path=path).serve()

    assert telemetry.span.attributes["http.route"] == route
    assert telemetry.span.attributes["code.function.name"].endswith(function)


@each_view
def test_a_root_path_that_a_middleware_has_found_is_part_of_the_route(wrap, telemetry, app, path, route, function):
    async def dispatching(scope, receive, send):
        await app({**scope, "root_path": "/site"}, receive, send)  # as hypercorn's own does

    AsgiGateway(wrap(dispatching), path=f"/site{path}").serve()

    assert telemetry.span.attributes["http.route"] == f"/site{route}"


def test_a_root_path_that_the_path_does_not_begin_with_is_no_part_of_the_route(wrap, telemetry, app):
    async def told(scope, receive, send):
        await app({**scope, "root_path": "/item"}, receive, send)  # as FastAPI's own, which a proxy has taken away

    AsgiGateway(wrap(told), path="/items/17").serve()

    assert telemetry.span.name == "GET /items/{number}"


def test_a_path_without_a_route_stays_unnamed(wrap, telemetry, app):
    AsgiGateway(wrap(app), path="/none").serve()

    assert telemetry.span.name == "GET"


def test_a_mount_without_a_route_below_is_named_by_its_prefix(wrap, telemetry, app):
    AsgiGateway(wrap(app), path="/acme/fastapi/none").serve()

    assert telemetry.span.attributes["http.route"] == "/{tenant}/fastapi/{path}"


def test_a_view_that_raises_keeps_its_route_and_its_exception(wrap, telemetry, app):
    with pytest.raises(RuntimeError, match="boom"):
        AsgiGateway(wrap(app), path="/boom").serve()

    assert telemetry.span.name == "GET /boom"
    assert telemetry.span.attributes["error.type"] == "RuntimeError"
    assert telemetry.span.attributes["http.response.status_code"] == 500


@pytest.fixture(scope="module")
def seen():
    """Three frameworks on uvicorn, each instrumented by contrib and by itself as well: what seven requests made."""
    port = free_port()
    command = instrumented("-c", f"from tests.sites.asgi_frameworks_site import make_app; {SERVE.format(port=port)}")
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.sites.django_site",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    }
    with Collector() as collector:
        with Program(command, environment(collector.endpoint, **variables), port):
            paths = ("/items/17", "/acme/fastapi/v1/items/17", "/django/items/17/", "/boom", "/none")
            answers = [get(port, path) for path in paths]
            leave_without_the_answer(port)
            with connect(f"ws://127.0.0.1:{port}/chat/one", additional_headers={"X-Request-Id": "abc"}) as chat:
                chat.send("hello")
                answers.append(chat.recv(timeout=30))
            collector.wait_for(7, lambda span: span.kind == "SERVER")
            collector.wait_for_metric("hopline.asgi", "http.server.request.duration", 6)
        yield answers, collector


def leave_without_the_answer(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/endless", headers={"X-Request-Id": "abc"})
    connection.sock.recv(100)
    connection.close()


def test_a_request_has_one_server_span_whoever_else_instruments_the_framework(seen):
    _, collector = seen

    servers = [span for span in collector.spans if span.kind == "SERVER"]
    assert {span.scope for span in servers} == {"hopline.asgi"}
    assert sorted(span.name for span in servers) == [
        "GET",
        "GET /boom",
        "GET /chat/{room}",
        "GET /django/items/<int:number>/",
        "GET /endless",
        "GET /items/{number}",
        "GET /{tenant}/fastapi/v1/items/{number}",
    ]


def test_contribs_own_spans_are_internal(seen):
    _, collector = seen

    theirs = {span.scope.rpartition(".")[2]: span.kind for span in collector.spans if span.scope != "hopline.asgi"}
    assert theirs == {"django": "INTERNAL", "fastapi": "INTERNAL", "starlette": "INTERNAL"}


def test_the_id_reaches_every_answer_and_every_span(seen):
    answers, collector = seen

    assert [answer[2] for answer in answers[:5]] == ["abc"] * 5
    assert answers[1][1] == '"item 17 abc"'
    assert answers[5] == "hello abc"
    assert {span["hopline.request_id"] for span in collector.spans} == {"abc"}


def test_a_client_that_leaves_a_real_server_is_told(seen):
    _, collector = seen

    (endless,) = [span for span in collector.spans if span.name == "GET /endless" and span.kind == "SERVER"]
    assert (endless["hopline.outcome"], endless["http.response.status_code"]) == ("disconnected", 200)


def test_each_request_is_measured_once(seen):
    _, collector = seen

    durations = {scope: n for (scope, name), n in collector.metrics.items() if name == "http.server.request.duration"}
    assert durations == {"hopline.asgi": 6}


@pytest.fixture
def telling_site(telemetry):
    """A site whose framework tells of requests itself."""
    if "telemetry" not in signature(FastAPI).parameters:  # an older one takes it for one of its extras
        pytest.skip("this FastAPI has no telemetry of its own")
    site = FastAPI(telemetry={"tracer_provider": telemetry.tracer_provider})
    site.get("/items/{number}")(lambda number: number)
    return site


def test_fastapis_own_telemetry_makes_no_second_server_span_where_it_is_configured(wrap, telemetry, telling_site):
    AsgiGateway(wrap(telling_site), path="/items/17").serve()

    assert telemetry.span.name == "GET /items/{number}"


def test_fastapis_own_telemetry_makes_no_span_for_an_excluded_url(wrap, telemetry, telling_site):
    gateway = AsgiGateway(wrap(telling_site, excluded_urls="/items"), path="/items/17", headers={"X-Request-Id": "abc"})

    gateway.serve()

    assert telemetry.spans == []
    assert gateway.headers["x-request-id"] == "abc"


def test_fastapis_own_telemetry_makes_no_second_server_span_within_contribs(wrap, telemetry, telling_site):
    app = OpenTelemetryMiddleware(wrap(telling_site), tracer_provider=telemetry.tracer_provider)
    gateway = AsgiGateway(app, path="/items/17", headers={"X-Request-Id": "abc"})

    gateway.serve()

    (server,) = (span for span in telemetry.spans if span.kind is SpanKind.SERVER)
    assert server.instrumentation_scope.name == "opentelemetry.instrumentation.asgi"
    assert gateway.headers["x-request-id"] == "abc"


def test_fastapis_own_telemetry_goes_on_where_it_has_begun_before(wrap, telemetry, telling_site):
    telling_site.add_middleware(wrap)

    AsgiGateway(telling_site, path="/items/17").serve()

    (server,) = (span for span in telemetry.spans if span.kind is SpanKind.SERVER)
    assert server.name == "GET /items/{number}"
    assert server.instrumentation_scope.name == "fastapi"
