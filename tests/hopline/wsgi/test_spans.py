"""What the SERVER span of one request says, and what the metrics say with it."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.trace import SpanKind, StatusCode

from hopline import asgi, wsgi
from tests.gateway import Gateway, field, hello

DURATION = "http.server.request.duration"
ACTIVE = "http.server.active_requests"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


def answering(status, headers=(), body=b""):
    def app(environ, start_response):
        start_response(status, list(headers))
        return [body]

    return app


def test_a_request_over_a_socket_has_the_stable_conventions_attributes(wrap, telemetry):
    with make_server("127.0.0.1", 0, wrap(hello), handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_port)
        connection.request(
            "GET", "/items/17?x=1", headers={"Host": "Shop.example:8080", "User-Agent": "t/1", "X-Request-Id": "abc"}
        )
        assert connection.getresponse().read() == b"hello"
        connection.close()
        thread.join()

    assert dict(telemetry.span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "client.address": "127.0.0.1",
        "hopline.request_id": "abc",
        "hopline.server.interface": "wsgi",
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "server.address": "shop.example",
        "server.port": 8080,
        "url.path": "/items/17",
        "url.query": "x=1",
        "url.scheme": "http",
        "user_agent.original": "t/1",
    }


def test_a_request_makes_one_server_span_named_by_its_method(wrap, telemetry):
    Gateway(wrap(hello)).serve()

    assert telemetry.span.kind is SpanKind.SERVER
    assert telemetry.span.name == "GET"
    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert telemetry.span.instrumentation_scope.name == "hopline.wsgi"


def test_a_span_continues_the_trace_that_came_in(wrap, telemetry):
    Gateway(wrap(hello), **{field("traceparent"): TRACEPARENT}).serve()

    assert f"{telemetry.span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{telemetry.span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_a_span_does_not_continue_a_trace_that_somebody_left_in_the_thread(wrap, telemetry):
    token = attach(set_value("left", "behind"))
    with telemetry.tracer.start_as_current_span("left behind", kind=SpanKind.CLIENT):
        Gateway(wrap(hello)).serve()
    detach(token)

    assert telemetry.spans[0].parent is None


@pytest.mark.parametrize(("status", "code"), [("404 Not Found", 404), ("302 Found", 302), ("200", 200)])
def test_a_status_below_500_is_no_error_of_the_server(wrap, telemetry, status, code):
    Gateway(wrap(answering(status))).serve()

    assert telemetry.span.attributes["http.response.status_code"] == code
    assert "error.type" not in telemetry.span.attributes
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_a_status_of_500_and_more_is_an_error_named_by_it(wrap, telemetry):
    Gateway(wrap(answering("503 Service Unavailable"))).serve()

    assert telemetry.span.attributes["error.type"] == "503"
    assert telemetry.span.status.status_code is StatusCode.ERROR


def test_an_unknown_method_is_told_as_other_and_kept_beside(wrap, telemetry):
    Gateway(wrap(hello), method="BREW").serve()

    assert telemetry.span.name == "HTTP"
    assert telemetry.span.attributes["http.request.method"] == "_OTHER"
    assert telemetry.span.attributes["http.request.method_original"] == "BREW"


def test_a_query_is_told_without_its_secrets(wrap, telemetry):
    Gateway(wrap(hello), QUERY_STRING="sig=secret&x=%20y").serve()

    assert telemetry.span.attributes["url.query"] == "sig=REDACTED&x=%20y"


def test_a_path_is_told_percent_encoded_with_its_script_name(wrap, telemetry):
    Gateway(wrap(hello), path="/caf\xc3\xa9 \r\n%", SCRIPT_NAME="/root").serve()

    assert telemetry.span.attributes["url.path"] == "/root/caf%C3%A9%20%0D%0A%25"


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("example.com", "example.com", 443),
        ("EXAMPLE.com:8443", "example.com", 8443),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443),
        ("evil.example/\x1b[31m", "127.0.0.1", 8000),
        ("example.com:99999", "127.0.0.1", 8000),
        ("", "127.0.0.1", 8000),
    ],
)
def test_the_server_is_named_by_a_valid_host_field_or_else_by_itself(wrap, telemetry, host, address, port):
    own = {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "wsgi.url_scheme": "https"}

    Gateway(wrap(hello), HTTP_HOST=host, **own).serve()

    assert telemetry.span.attributes["server.address"] == address
    assert telemetry.span.attributes["server.port"] == port


@pytest.mark.parametrize("peer", ["", "localhost", "/run/app.sock"])
def test_a_peer_that_is_no_ip_address_is_not_told(wrap, telemetry, peer):
    Gateway(wrap(hello), REMOTE_ADDR=peer, REMOTE_PORT="99").serve()

    assert not {"network.peer.address", "network.peer.port", "client.address"} & set(telemetry.span.attributes)


PROXIED = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7, 10.0.0.2", "HTTP_X_FORWARDED_PROTO": "https"}


def test_what_proxies_say_is_not_believed_unless_a_setting_says_so(wrap, telemetry):
    Gateway(wrap(hello), **PROXIED).serve()

    assert telemetry.span.attributes["client.address"] == "10.0.0.1"
    assert telemetry.span.attributes["url.scheme"] == "http"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (PROXIED, ("192.0.2.7", "https", "127.0.0.1", 443)),
        ({"HTTP_X_FORWARDED_HOST": "shop.example:81"}, ("10.0.0.1", "http", "shop.example", 81)),
        (
            {"HTTP_FORWARDED": 'for="[2001:db8::2]:99";proto=https;host=shop.example, for=10.0.0.3'},
            ("2001:db8::2", "https", "shop.example", 443),
        ),
        ({"HTTP_FORWARDED": "for=192.0.2.8:99, for=10.0.0.3;proto=https"}, ("192.0.2.8", "http", "127.0.0.1", 80)),
        ({"HTTP_X_FORWARDED_PROTO": "gopher"}, ("10.0.0.1", "http", "127.0.0.1", 80)),
    ],
)
def test_what_proxies_say_is_told_where_a_setting_trusts_them(wrap, telemetry, monkeypatch, environ, told):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_TRUST_FORWARDED", "true")

    Gateway(wrap(hello), **{"REMOTE_ADDR": "10.0.0.1", **environ}).serve()

    names = ("client.address", "url.scheme", "server.address", "server.port", "network.peer.address")
    assert tuple(telemetry.span.attributes[name] for name in names) == (*told, "10.0.0.1")


def test_wanted_header_fields_are_captured_and_secret_ones_hidden(wrap, telemetry, monkeypatch):
    prefix = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
    monkeypatch.setenv(f"{prefix}SERVER_REQUEST", "x-.*,content-type")
    monkeypatch.setenv(f"{prefix}SERVER_RESPONSE", "set-cookie,x-tag")
    monkeypatch.setenv(f"{prefix}SANITIZE_FIELDS", ".*cookie,x-secret")
    app = answering("200 OK", [("Set-Cookie", "a=1"), ("X-Tag", "1"), ("X-Tag", "2")])

    Gateway(wrap(app), HTTP_X_KEY="k", HTTP_X_SECRET="s", CONTENT_TYPE="text/plain").serve()

    told = {name: value for name, value in telemetry.span.attributes.items() if ".header." in name}
    assert told == {
        "http.request.header.content-type": ("text/plain",),
        "http.request.header.x-key": ("k",),
        "http.request.header.x-secret": ("[REDACTED]",),
        "http.response.header.set-cookie": ("[REDACTED]",),
        "http.response.header.x-tag": ("1", "2"),
    }


def test_both_generations_of_names_are_told_where_asked_for(wrap, telemetry, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup")

    Gateway(wrap(hello), path="/a", QUERY_STRING="b=1", HTTP_HOST="h:81", REMOTE_ADDR="192.0.2.1").serve()

    told = telemetry.span.attributes
    assert told["http.method"] == told["http.request.method"] == "GET"
    assert told["http.target"] == "/a?b=1"
    assert (told["net.host.name"], told["net.host.port"], told["net.peer.ip"]) == ("h", 81, "192.0.2.1")
    assert told["http.status_code"] == 200
    assert telemetry.point("http.server.duration").attributes["http.status_code"] == 200


def test_a_route_that_the_application_sets_on_the_span_names_it_and_the_metric(wrap, telemetry):
    def app(environ, start_response):
        trace.get_current_span().set_attribute("http.route", "/items/{id}")
        return hello(environ, start_response)

    Gateway(wrap(app), path="/items/17").serve()

    assert telemetry.span.name == "GET /items/{id}"
    assert telemetry.point(DURATION).attributes["http.route"] == "/items/{id}"


def test_a_name_that_the_application_gives_the_span_stays(wrap, telemetry):
    def app(environ, start_response):
        trace.get_current_span().update_name("mine")
        trace.get_current_span().set_attribute("http.route", "/items/{id}")
        return hello(environ, start_response)

    Gateway(wrap(app)).serve()

    assert telemetry.span.name == "mine"


def test_the_duration_is_the_spans_and_has_only_low_cardinality_attributes(wrap, telemetry):
    Gateway(wrap(hello), path="/items/17").serve()

    point = telemetry.point(DURATION)
    assert point.sum == (telemetry.span.end_time - telemetry.span.start_time) / 1e9
    assert point.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.0",
        "url.scheme": "http",
    }


def test_the_buckets_are_the_specified_ones_or_those_asked_for(wrap, telemetry):
    Gateway(wrap(hello, duration_histogram_boundaries=[1, 2])).serve()

    assert telemetry.point(DURATION).explicit_bounds == (1, 2)


def test_a_request_is_active_until_its_response_is_closed(wrap, telemetry):
    gateway = Gateway(wrap(hello)).call()
    while_open = telemetry.point(ACTIVE)
    gateway.result.close()

    assert (while_open.value, while_open.attributes) == (1, {"http.request.method": "GET", "url.scheme": "http"})
    assert telemetry.point(ACTIVE).value == 0


def test_an_excluded_url_gets_no_span_and_no_metric_but_its_id(wrap, telemetry):
    gateway = Gateway(wrap(hello, excluded_urls="/health$,nothing"), path="/health", HTTP_X_REQUEST_ID="abc")

    assert gateway.serve() == b"hello"
    assert gateway.headers["X-Request-Id"] == "abc"
    assert telemetry.spans == []
    assert telemetry.points(DURATION) == []


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_WSGI_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"])
def test_the_environment_excludes_urls(wrap, telemetry, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://shop.example/health")

    Gateway(wrap(hello), path="/health", HTTP_HOST="shop.example").serve()

    assert telemetry.spans == []


def test_nothing_is_told_where_instrumentation_is_suppressed(wrap, telemetry):
    gateway = Gateway(wrap(hello))

    with suppress_instrumentation():
        assert gateway.serve() == b"hello"

    assert telemetry.spans == []
    assert "X-Request-Id" not in gateway.headers


def test_an_application_that_is_wrapped_twice_makes_one_span(wrap, telemetry):
    Gateway(wrap(wrap(hello))).serve()

    assert telemetry.span.kind is SpanKind.SERVER


def test_a_second_request_with_the_same_environ_is_a_request_of_its_own(wrap, telemetry):
    gateway = Gateway(wrap(hello))

    gateway.serve()
    gateway.serve()

    assert len(telemetry.spans) == 2


def test_another_instrumentation_around_ours_keeps_the_one_server_span(wrap, telemetry):
    app = OpenTelemetryMiddleware(wrap(hello), tracer_provider=telemetry.tracer_provider)
    gateway = Gateway(app, HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert telemetry.span.instrumentation_scope.name == "opentelemetry.instrumentation.wsgi"
    assert gateway.headers["X-Request-Id"] == "abc"


def test_another_instrumentation_within_ours_makes_an_internal_span(wrap, telemetry):
    app = wrap(OpenTelemetryMiddleware(hello, tracer_provider=telemetry.tracer_provider))

    Gateway(app).serve()

    inner, outer = telemetry.spans
    assert (inner.kind, outer.kind) == (SpanKind.INTERNAL, SpanKind.SERVER)
    assert inner.parent.span_id == outer.context.span_id


def test_a_request_that_is_made_while_another_is_served_has_a_span_of_its_own(wrap, telemetry):
    def outer(environ, start_response):
        with telemetry.tracer.start_as_current_span("call", kind=SpanKind.CLIENT):
            Gateway(wrap(hello), path="/inner").serve()
        return hello(environ, start_response)

    Gateway(wrap(outer)).serve()

    assert [span.kind for span in telemetry.spans] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.SERVER]


def test_hooks_are_called_with_the_span_and_what_the_server_and_the_application_said(wrap, telemetry):
    def request_hook(span, environ):
        span.set_attribute("path", environ["PATH_INFO"])

    def response_hook(span, environ, status, headers):
        span.set_attribute("answer", f"{environ['PATH_INFO']} {status} {dict(headers)['Content-Type']}")

    Gateway(wrap(hello, request_hook=request_hook, response_hook=response_hook), path="/a").serve()

    assert telemetry.span.attributes["path"] == "/a"
    assert telemetry.span.attributes["answer"] == "/a 200 OK text/plain"


def test_a_hook_that_raises_is_logged_and_harms_nothing(wrap, telemetry, caplog):
    def broken(*arguments):
        raise RuntimeError("hook")

    assert Gateway(wrap(hello, request_hook=broken, response_hook=broken)).serve() == b"hello"
    assert len(telemetry.spans) == 1
    assert "broken" in caplog.text


def test_an_error_of_ours_leaves_the_application_as_it_is(wrap, caplog):
    gateway = Gateway(wrap(hello), method=None)

    assert gateway.serve() == b"hello"
    assert "the application goes on" in caplog.text


@pytest.mark.parametrize("middleware", [asgi.RequestContextMiddleware, wsgi.RequestContextMiddleware])
def test_an_argument_that_there_is_not_is_refused(middleware):
    with pytest.raises(TypeError, match="no argument 'exclude_urls'"):
        middleware(hello, exclude_urls="health")


@pytest.mark.parametrize(
    "argument", ["excluded_urls", "request_hook", "duration_histogram_boundaries", "trust_forwarded"]
)
def test_an_argument_that_cannot_be_used_is_refused_by_its_name(wrap, argument):
    with pytest.raises(ValueError, match=f"{argument}="):
        wrap(hello, **{argument: object()})


def test_the_middleware_may_trust_what_a_proxy_says(wrap, telemetry):
    Gateway(wrap(hello, trust_forwarded=True), **PROXIED).serve()

    assert telemetry.span.attributes["client.address"] == "192.0.2.7"
