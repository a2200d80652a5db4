"""What a span of one request says, and what the duration histogram says with it."""

from __future__ import annotations

import re
import threading

import pytest
import requests
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from hopline._guard import stopped_errors
from hopline.http.instruments import ClientInstruments
from tests.loopback import Answer

DURATION = "http.client.request.duration"


def test_a_request_makes_one_client_span_named_by_its_method(instrument, telemetry, server):
    instrument()

    requests.get(f"{server.url}/users/17")

    assert telemetry.span.kind is SpanKind.CLIENT
    assert telemetry.span.name == "GET"


def test_a_span_has_the_required_and_recommended_attributes(instrument, telemetry, server):
    instrument()

    requests.post(f"{server.url}/users?x=1", data="hello")

    attributes = dict(telemetry.span.attributes)
    assert {name: attributes[name] for name in attributes if not name.startswith("hopline.")} == {
        "http.request.body.size": 5,
        "http.request.method": "POST",
        "http.response.body.size": 2,
        "http.response.status_code": 200,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": server.port,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "url.full": f"{server.url}/users?x=1",
    }


def test_a_span_is_a_child_of_the_span_that_is_current(instrument, telemetry, server):
    instrument()

    with telemetry.tracer.start_as_current_span("caller") as caller:
        requests.get(server.url)

    assert telemetry.spans[0].parent.span_id == caller.get_span_context().span_id


@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_status_below_400_leaves_the_span_status_unset(instrument, telemetry, server, status):
    instrument()

    requests.get(server.answer("/", Answer(status, body=b"")))

    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in telemetry.span.attributes


@pytest.mark.parametrize("status", [400, 404, 500, 503, 599])
def test_a_status_from_400_on_is_an_error_of_that_type(instrument, telemetry, server, status):
    instrument()

    requests.get(server.answer("/", Answer(status)))

    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert telemetry.span.attributes["error.type"] == str(status)


def test_an_exception_is_an_error_named_in_full_and_goes_on(instrument, telemetry, unused_port):
    instrument()

    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{unused_port}/")

    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert telemetry.span.attributes["error.type"] == "requests.exceptions.ConnectionError"
    assert "http.response.status_code" not in telemetry.span.attributes


def test_an_exception_that_names_the_url_does_not_give_its_secrets_away(instrument, telemetry, unused_port):
    instrument()

    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{unused_port}/?sig=SECRET")

    assert "SECRET" not in telemetry.span.to_json()


@pytest.mark.parametrize("credentials", ["me:secret", "secret", "me:se@cret"])
def test_an_exception_that_names_the_url_does_not_give_its_credentials_away(instrument, telemetry, credentials):
    instrument()

    with pytest.raises(requests.exceptions.InvalidSchema, match=r"example\.com"):
        requests.get(f"ftp://{credentials}@example.com/?sig=abc")

    described = telemetry.span.status.description
    assert "REDACTED@example.com/?sig=REDACTED" in described
    assert "secret" not in described.replace("@", "")


def test_credentials_and_signatures_in_the_url_are_redacted(instrument, telemetry, server):
    instrument()

    requests.get(f"http://me:SECRET@127.0.0.1:{server.port}/?a=%20b&X-Amz-Signature=SECRET")

    assert telemetry.span.attributes["url.full"] == (
        f"http://REDACTED:REDACTED@127.0.0.1:{server.port}/?a=%20b&X-Amz-Signature=REDACTED"
    )


def test_an_unknown_method_is_other_and_keeps_its_original(instrument, telemetry, server):
    instrument()

    requests.request("BREW", server.url)

    assert telemetry.span.name == "HTTP"
    assert telemetry.span.attributes["http.request.method"] == "_OTHER"
    assert telemetry.span.attributes["http.request.method_original"] == "BREW"


def test_the_known_methods_can_be_replaced(instrument, telemetry, server, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW, POST")
    instrument()

    requests.request("BREW", server.url)
    requests.get(server.url)

    assert [span.name for span in telemetry.spans] == ["BREW", "HTTP"]


def test_the_duration_is_that_of_the_span(instrument, telemetry, server):
    instrument()

    requests.get(server.url)

    seconds = (telemetry.span.end_time - telemetry.span.start_time) / 1e9
    assert telemetry.point(DURATION).sum == pytest.approx(seconds, abs=1e-9)


def test_the_duration_has_the_specified_buckets_and_attributes(instrument, telemetry, server):
    instrument()

    requests.get(server.answer("/", Answer(404)))

    point = telemetry.point(DURATION)
    assert point.explicit_bounds == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert dict(point.attributes) == {
        "error.type": "404",
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }


def test_the_buckets_can_be_given(instrument, telemetry, server):
    instrument(duration_histogram_boundaries=[1, 2])

    requests.get(server.url)

    assert telemetry.point(DURATION).explicit_bounds == (1, 2)


def test_active_requests_are_observed_while_they_last_and_as_none_afterwards(instrument, telemetry, server):
    during = []
    answer = Answer(before=lambda: during.append(telemetry.point("http.client.active_requests").value))
    instrument()

    requests.get(server.answer("/", answer))

    assert during == [1]
    assert telemetry.point("http.client.active_requests").value == 0


def test_old_names_stand_beside_the_stable_ones_if_asked_for(instrument, telemetry, server, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup")
    instrument()

    requests.get(server.url)

    attributes = telemetry.span.attributes
    assert attributes["http.method"] == attributes["http.request.method"]
    assert attributes["http.url"] == attributes["url.full"]
    assert attributes["http.status_code"] == attributes["http.response.status_code"]
    assert attributes["net.peer.name"] == attributes["server.address"]
    assert telemetry.point("http.client.duration").attributes["http.status_code"] == 200


@pytest.mark.parametrize("suppress", [suppress_instrumentation, suppress_http_instrumentation])
def test_a_suppressed_request_makes_no_span_and_carries_nothing(instrument, telemetry, server, suppress):
    instrument()

    with suppress():
        requests.get(server.url)

    assert telemetry.spans == []
    assert server.header("traceparent") == [None]


def test_a_captured_field_whose_name_is_bytes_becomes_an_attribute_too(instrument, telemetry, server, session):
    instrument(captured_request_headers="x-one")
    request = session.prepare_request(requests.Request("GET", server.url))
    request.headers[b"X-One"] = b"1"

    session.send(request)

    assert telemetry.span.attributes["http.request.header.x-one"] == ("1",)


def test_captured_headers_become_attributes_that_keep_their_hyphens(instrument, telemetry, server, monkeypatch):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", "x-.*, accept")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE", "Set-Cookie,X-Back")
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", ".*token.*,set-cookie")
    instrument()
    url = server.answer("/", Answer(headers={"X-Back": "there", "Set-Cookie": "a=b"}))

    requests.get(url, headers={"X-One": b"1", "X-Token": "SECRET"})

    captured = {name: value for name, value in telemetry.span.attributes.items() if ".header." in name}
    assert captured == {
        "http.request.header.accept": ("*/*",),
        "http.request.header.x-one": ("1",),
        "http.request.header.x-token": ("[REDACTED]",),
        "http.response.header.set-cookie": ("[REDACTED]",),
        "http.response.header.x-back": ("there",),
    }


def test_an_excluded_url_makes_no_span_and_still_carries_the_id(instrument, telemetry, server):
    instrument(excluded_urls="/health$,/metrics")

    requests.get(f"{server.url}/health")

    assert telemetry.spans == []
    assert re.fullmatch(r"[0-9a-f]{16}", server.header("X-Request-Id")[0])


def test_an_excluded_url_carries_nothing_if_that_is_switched_off(instrument, server, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_PROPAGATE_TO_EXCLUDED", "false")
    instrument(excluded_urls=["/health$"])

    requests.get(f"{server.url}/health")

    assert server.header("X-Request-Id") == [None]


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"])
def test_urls_are_excluded_by_the_environment(instrument, telemetry, server, monkeypatch, variable):
    monkeypatch.setenv(variable, "health")
    instrument()

    requests.get(f"{server.url}/health")
    requests.get(f"{server.url}/other")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/other"]


def test_a_pattern_that_is_none_is_named_in_one_warning_and_excludes_nothing(
    instrument, telemetry, server, monkeypatch, caplog
):
    monkeypatch.setenv("OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", "*(")
    instrument()

    requests.get(server.url)

    assert len(telemetry.spans) == 1
    (record,) = [record for record in caplog.records if record.name.startswith("hopline")]
    assert record.levelname == "WARNING"
    assert "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS='*('" in record.getMessage()


def test_what_cannot_be_prepared_raises_as_ever_and_leaves_no_span(instrument, telemetry, session):
    instrument()

    with pytest.raises(requests.exceptions.InvalidURL):
        session.get("http://:0:0/")
    with pytest.raises(requests.exceptions.MissingSchema):
        session.get("no-scheme")
    with pytest.raises(ValueError, match="You can only send PreparedRequests"):
        session.send(requests.Request("GET", "http://127.0.0.1/"))

    assert telemetry.spans == []


def test_a_scheme_without_an_adapter_raises_as_ever_and_ends_its_span(instrument, telemetry, session):
    instrument()

    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("gopher://example.com/")

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.InvalidSchema"
    assert "server.port" not in telemetry.span.attributes


def test_a_request_prepared_by_hand_without_a_header_is_sent(instrument, telemetry, server, session):
    instrument()
    request = requests.PreparedRequest()
    request.prepare_method("GET")
    request.prepare_url(server.url, None)
    request.prepare_hooks({})

    session.send(request)

    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert server.header("traceparent") != [None]


def test_without_a_provider_ids_are_carried_and_nothing_is_told(run_python, server):
    output = run_python(
        f"""
        import requests
        from hopline import Context
        from hopline.requests import RequestsInstrumentor
        RequestsInstrumentor().instrument()
        Context.new("abc")
        print(requests.get("{server.redirect("/a", "/b")}").status_code)
        """
    )

    assert output == "200\n"
    assert [header.endswith("-abc") for header in server.header("X-Request-Id")] == [True, True]
    assert server.header("X-Request-Id")[0] != server.header("X-Request-Id")[1]


def test_a_provider_that_is_set_later_hears_from_then_on(run_python, server):
    output = run_python(
        f"""
        import requests
        from hopline.requests import RequestsInstrumentor
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        RequestsInstrumentor().instrument()
        requests.get("{server.url}/before")
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        requests.get("{server.url}/after")
        print([span.attributes["url.full"] for span in exporter.get_finished_spans()])
        """
    )

    assert output == f"['{server.url}/after']\n"


def test_threads_that_make_the_first_requests_at_once_are_all_told_of(instrument, telemetry, server, monkeypatch):
    begun, over, arrive = [], threading.Event(), threading.Event()
    make = ClientInstruments.__init__

    def make_slowly(self, *arguments):
        begun.append(threading.current_thread())
        arrive.set()
        if len(begun) == 1:
            over.wait(2)  # for the other thread, which comes in the midst of this
        make(self, *arguments)

    monkeypatch.setattr(ClientInstruments, "__init__", make_slowly)
    instrument()

    slow = threading.Thread(target=requests.get, args=(server.url,))
    slow.start()
    arrive.wait()
    requests.get(server.url)
    over.set()
    slow.join()

    assert len(telemetry.spans) == 2
    assert telemetry.point(DURATION).count == 2
    assert stopped_errors() == {}


def test_a_measurement_leads_to_the_span_of_its_request(instrument, telemetry, server):
    instrument()

    requests.get(server.url)

    (exemplar,) = telemetry.point(DURATION).exemplars
    context = telemetry.span.context
    assert (exemplar.trace_id, exemplar.span_id) == (context.trace_id, context.span_id)
