"""Spans that reach a real OpenTelemetry collector over HTTP, from an example under ``opentelemetry-instrument``."""

from __future__ import annotations

import pytest

from tests.collector import Rotel
from tests.instrumented import fetch
from tests.loopback import Answer, LoopbackServer

pytestmark = pytest.mark.server("rotel")


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    """What the collector got of a request, a redirect, a missing page and a refused connection, by URL."""
    with LoopbackServer() as server, Rotel(tmp_path_factory.mktemp("rotel")) as collector:
        urls = [
            f"{server.url}/items",
            server.redirect("/old-items", "/items-moved"),
            server.answer("/nothing", Answer(404)),
            "http://127.0.0.1:1/",
        ]
        fetch(*urls, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="fetcher")
        spans = collector.wait_for_spans(5)
        headers = {request.path: request.headers for request in server.received}
    by_path = {"/" + span["url.full"].split("/", 3)[3]: span for span in spans}
    return by_path, headers


def test_the_collector_gets_every_request_as_a_client_span(spans):
    by_path, _ = spans

    assert sorted(by_path) == ["/", "/items", "/items-moved", "/nothing", "/old-items"]
    assert {span["Kind"] for span in by_path.values()} == {"SPAN_KIND_CLIENT"}
    assert {span["Name"] for span in by_path.values()} == {"GET"}


def test_the_collector_gets_the_statuses(spans):
    by_path, _ = spans

    statuses = {path: span.get("http.response.status_code") for path, span in by_path.items()}
    assert statuses == {"/": None, "/items": "200", "/items-moved": "200", "/nothing": "404", "/old-items": "302"}
    assert by_path["/"]["Status code"] == "STATUS_CODE_ERROR"
    assert by_path["/"]["error.type"] == "requests.exceptions.ConnectionError"
    assert by_path["/items"]["Status code"] == "STATUS_CODE_UNSET"


def test_what_the_server_received_leads_to_the_spans_that_the_collector_got(spans):
    by_path, headers = spans

    for path, received in headers.items():
        span = by_path[path]
        assert received["traceparent"].split("-")[1:3] == [span["Trace ID"], span["ID"]]
        assert received["X-Request-Id"] == span["hopline.request_id"]
