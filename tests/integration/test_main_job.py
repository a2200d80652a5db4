"""The main job against real servers: an example under ``opentelemetry-instrument``, a collector and statsd."""

from __future__ import annotations

import pytest

from tests.loopback import Answer, LoopbackServer
from tests.programs import fetch
from tests.rotel import Rotel
from tests.servers import EtsyStatsd, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.server("rotel", "statsd")]


@pytest.fixture(scope="module")
def arrived(tmp_path_factory):
    """What the collector got, by path, what statsd made of it, and what the web server received."""
    folder = tmp_path_factory.mktemp("servers")
    with LoopbackServer() as web, Rotel(folder / "rotel") as collector, EtsyStatsd(folder / "statsd") as statsd:
        urls = [
            *[f"{web.url}/items"] * 3,
            web.redirect("/old-items", "/items-moved"),
            web.answer("/nothing", Answer(404)),
            "http://127.0.0.1:1/",
        ]
        fetch(
            *urls,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_STATSD_ENDPOINT=statsd.endpoint,
            OTEL_EXPORTER_STATSD_PREFIX="my.prefix",
        )
        spans = collector.wait_for_spans(7)
        timers = "my.prefix.requests.127-0-0-1.GET."
        wait_until(lambda: statsd.timer(f"{timers}200").count == 4, "statsd aggregates the timers")
        counts = {name: statsd.timer(timers + name) for name in ("200", "302", "404", "ConnectionError")}
    by_path = {"/" + span["url.full"].split("/", 3)[3]: span for span in spans}
    return by_path, counts, web.received


def test_the_collector_gets_every_request_as_a_client_span(arrived):
    by_path, _, _ = arrived

    assert sorted(by_path) == ["/", "/items", "/items-moved", "/nothing", "/old-items"]
    assert {span["Kind"] for span in by_path.values()} == {"SPAN_KIND_CLIENT"}
    assert {span["Name"] for span in by_path.values()} == {"GET"}


def test_the_collector_gets_the_statuses(arrived):
    by_path, _, _ = arrived

    statuses = {path: span.get("http.response.status_code") for path, span in by_path.items()}
    assert statuses == {"/": None, "/items": "200", "/items-moved": "200", "/nothing": "404", "/old-items": "302"}
    assert by_path["/"]["Status code"] == "STATUS_CODE_ERROR"
    assert by_path["/"]["error.type"] == "requests.exceptions.ConnectionError"
    assert by_path["/items"]["Status code"] == "STATUS_CODE_UNSET"


def test_what_the_web_server_received_leads_to_the_spans_that_the_collector_got(arrived):
    by_path, _, received = arrived

    by_id = {request.headers["traceparent"].split("-")[2]: request for request in received}
    for path in ("/items", "/items-moved", "/nothing", "/old-items"):
        request = by_id[by_path[path]["ID"]]
        assert request.path == path
        assert request.headers["traceparent"].split("-")[1] == by_path[path]["Trace ID"]
        assert request.headers["X-Request-Id"] == by_path[path]["hopline.request_id"]


def test_statsd_aggregates_one_timer_for_each_request(arrived):
    _, counts, _ = arrived

    assert {name: timer.count for name, timer in counts.items()} == {"200": 4, "302": 1, "404": 1, "ConnectionError": 1}


def test_the_timers_mean_is_the_spans_duration(arrived):
    by_path, counts, _ = arrived

    span = by_path["/nothing"]
    assert counts["404"].mean == pytest.approx(_milliseconds(span), abs=0.001)


def _milliseconds(span):
    return (int(span["End time"]) - int(span["Start time"])) / 1e6
