"""What URLs, hosts and statuses are called: by the application, in blocks and by rules."""

from __future__ import annotations

import pytest
import requests
from opentelemetry.trace import StatusCode
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

import hopline
from hopline.hosts import host_names
from hopline_statsd import StatsdConfig, StatsdSpanProcessor
from hopline_statsd.listener import StatsdListener
from tests.loopback import Answer

DURATION = "http.client.request.duration"


@pytest.fixture
def named_host(server):
    """The server's host and port, called billing for the length of the test."""
    hopline.register_host_name(f"127.0.0.1:{server.port}", "billing")
    yield
    host_names._names.clear()
    host_names.version += 1


def test_a_template_names_the_span_and_the_duration(instrument, telemetry, server):
    instrument()

    with hopline.url_template("/users/{id}"):
        requests.get(f"{server.url}/users/17")

    assert telemetry.span.name == "GET /users/{id}"
    assert telemetry.span.attributes["url.template"] == "/users/{id}"
    assert telemetry.point(DURATION).attributes["url.template"] == "/users/{id}"


def test_a_template_ends_with_its_block_and_an_inner_one_wins(instrument, telemetry, server):
    instrument()

    with hopline.url_template("/outer"):
        with hopline.url_template("/inner"):
            requests.get(server.url)
        requests.get(server.url)
    requests.get(server.url)

    assert [span.name for span in telemetry.spans] == ["GET /inner", "GET /outer", "GET"]


def test_a_template_does_not_name_where_a_redirect_leads(instrument, telemetry, server):
    instrument()

    with hopline.url_template("/users/{id}"):
        requests.get(server.redirect("/users/17", "/login"))

    assert [span.name for span in telemetry.spans] == ["GET /users/{id}", "GET"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/users/17?x=1", "GET /users/{id}"),
        ("/users/17/orders/3", "GET /users/{id}/orders/{order}"),
        ("/files/report.pdf", "GET /files/{name}.pdf"),
        ("/users/", "GET"),
        ("/other", "GET"),
    ],
)
def test_rules_name_urls_by_their_path(instrument, telemetry, server, monkeypatch, path, name):
    rules = "127.0.0.1/users/{id}, */users/{id}/orders/{order}, */files/{name}.pdf, elsewhere/other"
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_URL_TEMPLATES", rules)
    instrument()

    requests.get(server.url + path)

    assert telemetry.span.name == name


def test_a_block_wins_over_a_rule(instrument, telemetry, server):
    instrument(url_templates=["*/users/{id}"])

    with hopline.url_template("/people/{id}"):
        requests.get(f"{server.url}/users/17")

    assert telemetry.span.name == "GET /people/{id}"


def test_a_rule_that_is_none_is_named_in_one_warning(instrument, telemetry, server, monkeypatch, caplog):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_URL_TEMPLATES", "no-path")
    instrument()

    requests.get(server.url)

    assert telemetry.span.name == "GET"
    (record,) = [record for record in caplog.records if record.name.startswith("hopline")]
    assert "OTEL_PYTHON_HOPLINE_URL_TEMPLATES='no-path'" in record.getMessage()


@pytest.mark.usefixtures("named_host")
def test_a_host_name_is_told_beside_the_address(instrument, telemetry, server):
    instrument()

    requests.get(server.url)

    assert telemetry.span.attributes["peer.service"] == "billing"
    assert telemetry.span.attributes["server.address"] == "127.0.0.1"
    assert telemetry.point(DURATION).attributes["peer.service"] == "billing"


@pytest.mark.parametrize("written", ["[::1]:8000", "[::1]", "::1"])
def test_an_ipv6_address_can_be_given_a_name(written):
    hopline.register_host_name(written, "six")
    try:
        assert host_names.of("::1", 8000) == "six"
    finally:
        host_names._names.clear()
        host_names.version += 1


@pytest.mark.usefixtures("named_host")
def test_every_metric_of_a_call_has_the_names(instrument, telemetry, server, session):
    instrument(body_sizes=True)

    with hopline.url_template("/users/{id}"):
        session.post(f"{server.url}/users/17", data="x", stream=True).content  # noqa: B018

    for name in (
        DURATION,
        *("http.client.request.body.size", "http.client.response.body.size"),
        *("hopline.http.client.body.size", "hopline.http.client.body.duration"),
    ):
        attributes = telemetry.point(name).attributes
        assert (attributes["url.template"], attributes["peer.service"]) == ("/users/{id}", "billing")
    assert telemetry.point("http.client.open_connections").attributes["peer.service"] == "billing"


def test_a_template_names_retries_too(instrument, telemetry, server, session):
    instrument()
    session.mount("http://", HTTPAdapter(max_retries=Retry(1, backoff_factor=0, status_forcelist=[503])))

    with hopline.url_template("/users/{id}"):
        session.get(server.answer("/users/17", Answer(503), Answer(200)))

    assert [span.name for span in telemetry.spans] == ["GET /users/{id}"] * 2


def test_a_host_name_holds_from_the_moment_it_is_registered(instrument, telemetry, server, request):
    instrument()
    requests.get(server.url)

    request.getfixturevalue("named_host")
    requests.get(server.url)

    assert [span.attributes.get("peer.service") for span in telemetry.spans] == [None, "billing"]


def test_a_status_that_is_expected_is_no_error(instrument, telemetry, server):
    instrument()

    with hopline.expected_status(404, 410):
        requests.get(server.answer("/", Answer(404)))

    assert telemetry.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in telemetry.span.attributes
    assert telemetry.span.attributes["http.response.status_code"] == 404
    assert "error.type" not in telemetry.point(DURATION).attributes


def test_expected_statuses_add_up_and_others_stay_errors(instrument, telemetry, server):
    instrument()
    url = server.answer("/", Answer(404), Answer(410), Answer(500), Answer(410))

    with hopline.expected_status(404):
        with hopline.expected_status(410):
            requests.get(url)
            requests.get(url)
            requests.get(url)
        requests.get(url)

    assert [span.attributes.get("error.type") for span in telemetry.spans] == [None, None, "500", "410"]


def test_statuses_are_expected_by_host(instrument, telemetry, server):
    instrument(expected_statuses={"127.*": [404], "elsewhere": [500]})
    url = server.answer("/", Answer(404), Answer(500))

    requests.get(url)
    requests.get(url)

    assert [span.attributes.get("error.type") for span in telemetry.spans] == [None, "500"]


@pytest.mark.parametrize("wrong", [{"127.*": 404}, [404], {"127.*": ["all"]}])
def test_expected_statuses_that_are_none_are_refused(instrument, wrong):
    with pytest.raises(ValueError, match="expected_statuses="):
        instrument(expected_statuses=wrong)


@pytest.mark.parametrize("argument", ["request_hook", "response_hook", "body_sizes", "propagate_to_excluded"])
def test_what_is_neither_function_nor_switch_is_refused_by_the_name_of_the_argument(instrument, argument):
    with pytest.raises(ValueError, match=f"{argument}="):
        instrument(**{argument: "no"})


@pytest.mark.parametrize("wrong", ["abc", 5, [2, 1], []])
def test_boundaries_that_do_not_ascend_are_refused(instrument, wrong):
    with pytest.raises(ValueError, match="duration_histogram_boundaries="):
        instrument(duration_histogram_boundaries=wrong)


@pytest.mark.parametrize("argument", ["url_templates", "propagate_trace", "captured_request_headers"])
@pytest.mark.parametrize("wrong", [7, [7], b"text"])
def test_what_is_no_list_of_texts_is_refused_by_the_name_of_the_argument(instrument, argument, wrong):
    with pytest.raises(ValueError, match=f"{argument}="):
        instrument(**{argument: wrong})


@pytest.mark.usefixtures("named_host")
def test_statsd_is_told_the_same_names(instrument, telemetry, server):
    with StatsdListener() as statsd:
        processor = StatsdSpanProcessor(StatsdConfig(endpoint=statsd.endpoint, prefix="my.prefix"))
        telemetry.tracer_provider.add_span_processor(processor)
        instrument()

        with hopline.url_template("/users/{id}"):
            requests.get(f"{server.url}/users/17")
        processor.force_flush()

        assert statsd.wait_for(2)
        assert statsd.lines[0].startswith("my.prefix.requests.billing.users-_id_.GET.200:")
        assert statsd.lines[1] == "my.prefix.requests.billing.connections:1|c"
