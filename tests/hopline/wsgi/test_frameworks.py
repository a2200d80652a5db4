"""The route and the view that a web framework has found, also where its own instrumentor of contrib is active."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from flask import Flask
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import _internal, get_meter

from hopline.distro import HoplineDistro
from hopline.wsgi import RequestContextMiddleware
from tests.collector import Collector
from tests.gateway import Gateway
from tests.hopline.wsgi.test_servers import get
from tests.programs import Program, environment, instrumented
from tests.servers import free_port
from tests.sites import frameworks_site

pytestmark = pytest.mark.processes

SERVE = "from wsgiref.simple_server import make_server; make_server('127.0.0.1', {port}, make_app()).serve_forever()"


@pytest.fixture(scope="module")
def app():
    return frameworks_site.make_app()


@pytest.mark.parametrize(
    ("path", "route", "function"),
    [
        ("/flask/items/17", "/flask/items/<int:number>", "item"),
        ("/flask/shelf", "/flask/shelf", "shelf"),
        ("/bottle/items/17", "/bottle/items/<number:int>", "make_bottle.<locals>.item"),
        ("/django/items/17/", "/django/items/<int:number>/", "tests.sites.django_site.item"),
        ("/django/shelves/top", "^shelves/(?P<name>[a-z]+)$", "tests.sites.django_site.Shelf"),
    ],
)
def test_the_route_names_the_span_and_the_view_is_told(wrap, telemetry, app, path, route, function):
    Gateway(wrap(app), path=path).serve()

    assert telemetry.span.name == f"GET {route}"
    assert telemetry.span.attributes["http.route"] == route
    assert telemetry.span.attributes["code.function.name"].endswith(function)
    assert telemetry.point("http.server.request.duration").attributes["http.route"] == route


@pytest.mark.parametrize("path", ["/flask/none", "/bottle/none", "/django/none", "/none"])
def test_a_path_without_a_route_stays_unnamed(wrap, telemetry, app, path):
    Gateway(wrap(app), path=path).serve()

    assert telemetry.span.name == "GET"
    assert "http.route" not in telemetry.span.attributes
    assert telemetry.span.attributes["http.response.status_code"] == 404


def test_a_view_that_raises_keeps_its_route(wrap, telemetry, app, caplog):
    caplog.set_level(logging.CRITICAL)
    Gateway(wrap(app), path="/django/boom").serve()

    assert telemetry.span.name == "GET /django/boom"
    assert telemetry.span.attributes["error.type"] == "500"


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_flask_view_whose_exception_leaves_flask_keeps_its_route(wrap, telemetry, error):
    site = Flask("site")
    site.testing = True

    @site.get("/items/<int:number>")
    def item(number):
        raise error

    with pytest.raises(error):
        Gateway(wrap(site.wsgi_app), path="/items/17").serve()

    assert telemetry.span.name == "GET /items/<int:number>"
    assert telemetry.span.attributes["code.function.name"] == "item"


def test_a_websocket_of_flasks_keeps_its_route(wrap, telemetry):
    site = Flask("site")

    @site.get("/chat/<room>")
    def chat(room):
        # As Flask-Sock ends it.
        class Response(site.response_class):
            def __call__(self, *arguments):
                raise StopIteration

        return Response()

    environ = {"gunicorn.socket": "its socket", "HTTP_UPGRADE": "websocket"}
    with pytest.raises(StopIteration):
        Gateway(wrap(site.wsgi_app), path="/chat/one", **environ).serve()

    assert telemetry.span.name == "GET /chat/<room>"


@pytest.mark.parametrize(
    ("path", "route"),
    [("/flask/items/17", "/flask/items/<int:number>"), ("/django/items/17/", "/django/items/<int:number>/")],
)
def test_a_route_is_known_behind_a_middleware_that_copies_the_environ(wrap, telemetry, app, path, route):
    def copying(environ, start_response):
        return app(dict(environ), start_response)

    Gateway(wrap(copying), path=path).serve()

    assert telemetry.span.attributes["http.route"] == route


@pytest.fixture(scope="module")
def seen():
    """Three frameworks on one server, each instrumented by contrib as well: the spans and metrics of six requests."""
    port = free_port()
    command = instrumented("-c", f"from tests.sites.frameworks_site import make_app; {SERVE.format(port=port)}")
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.sites.django_site",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    }
    with Collector() as collector:
        with Program(command, environment(collector.endpoint, **variables), port):
            paths = ("/flask/items/17", "/flask/stream", "/django/items/17/", "/django/none", "/bottle/items/17", "/no")
            answers = [get(port, path) for path in paths]
            collector.wait_for(6, lambda span: span.kind == "SERVER")
            collector.wait_for_metric("hopline.wsgi", "http.server.request.duration", 6)
        yield answers, collector


def test_a_request_has_one_server_span_where_contrib_instruments_the_framework_too(seen):
    _, collector = seen

    servers = [span for span in collector.spans if span.kind == "SERVER"]
    assert {span.scope for span in servers} == {"hopline.wsgi"}
    assert sorted(span.name for span in servers) == [
        "GET",
        "GET",
        "GET /bottle/items/<number:int>",
        "GET /django/items/<int:number>/",
        "GET /flask/items/<int:number>",
        "GET /flask/stream",
    ]


def test_contribs_own_spans_are_internal_children_of_ours(seen):
    _, collector = seen

    ours = {span.span_id for span in collector.spans if span.kind == "SERVER"}
    theirs = [span for span in collector.spans if span.scope.startswith("opentelemetry.instrumentation")]
    assert {span.kind for span in theirs} == {"INTERNAL"}
    assert {span.scope.rpartition(".")[2] for span in theirs} == {"flask", "django"}
    assert {span.parent_id for span in theirs} <= ours


def test_the_id_is_on_every_response_and_every_span(seen):
    answers, collector = seen

    assert [answer[2] for answer in answers] == ["abc"] * 6
    assert {span["hopline.request_id"] for span in collector.spans} == {"abc"}


def test_each_request_is_measured_once(seen):
    _, collector = seen

    durations = {scope: n for (scope, name), n in collector.metrics.items() if name == "http.server.request.duration"}
    assert durations == {"hopline.wsgi": 6}
    assert {scope for scope, name in collector.metrics if name == "http.server.active_requests"} <= {"hopline.wsgi"}


def test_contrib_measures_what_hopline_does_not():
    """A server that nothing is known of: the framework's own instrumentor is all there is."""
    program = """
from tests.sites.frameworks_site import make_app
from opentelemetry import metrics
from wsgiref.util import setup_testing_defaults

environ = {"PATH_INFO": "/flask/items/17"}
setup_testing_defaults(environ)
b"".join(make_app()(environ, lambda *arguments: None))
metrics.get_meter_provider().force_flush()
"""
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.sites.django_site",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    }
    with (
        Collector() as collector,
        Program(instrumented("-c", program), environment(collector.endpoint, **variables)) as running,
    ):
        (span,) = collector.wait_for(1)
        collector.wait_for_metric(span.scope, "http.server.request.duration", 1)
        running.wait()

    assert (span.kind, span.scope) == ("SERVER", "opentelemetry.instrumentation.flask")


class PyramidInstrumentor:
    """Stands for contrib's: the functions of its module `callbacks` ask the API for their meters."""

    def instrument(self, **_arguments):
        pass


def test_an_instrumentor_that_takes_no_meter_provider_measures_only_what_hopline_does_not(wrap, telemetry, monkeypatch):
    callbacks = ModuleType("opentelemetry.instrumentation.pyramid.callbacks")
    callbacks.get_meter = get_meter
    monkeypatch.setitem(sys.modules, callbacks.__name__, callbacks)
    monkeypatch.setattr(_internal, "_METER_PROVIDER", telemetry.meter_provider)

    HoplineDistro().load_instrumentor(EntryPoint("pyramid", f"{__name__}:PyramidInstrumentor", "instrumentors"))
    durations = callbacks.get_meter("theirs").create_histogram("their.duration")

    def site(_environ, start_response):
        durations.record(1)
        start_response("200 OK", [])
        return [b""]

    Gateway(wrap(site)).serve()
    durations.record(2)  # of a request to a server that hopline knows nothing of

    assert telemetry.point("their.duration").sum == 2


def test_contribs_middleware_around_ours_is_the_one_server_span_of_a_framework(telemetry, app):
    inner = RequestContextMiddleware(app, **telemetry.providers)
    Gateway(OpenTelemetryMiddleware(inner, tracer_provider=telemetry.tracer_provider), path="/bottle/items/1").serve()

    assert [span.instrumentation_scope.name for span in telemetry.spans] == ["opentelemetry.instrumentation.wsgi"]
