"""What stands in for the network in tests of applications: requests-mock and responses make spans all the same."""

from __future__ import annotations

from http import HTTPStatus
from unittest.mock import MagicMock

import pytest
import requests
import requests_mock
import responses
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util.retry import Retry

from hopline import Context
from hopline.requests import RequestsInstrumentor
from tests.hopline.requests.test_attempts import CHALLENGE, resend_counts, span_ids, statuses

FIRST, SECOND = "http://api.test/a", "http://other.test/b"


class RequestsMock:
    """requests-mock: it sends with the very function that it found when it was imported."""

    def __init__(self):
        self._mocker = requests_mock.Mocker()

    def __enter__(self):
        self._mocker.start()
        return self

    def __exit__(self, *_):
        self._mocker.stop()

    def answer(self, url, *answers):
        self._mocker.get(url, [{"status_code": status, "headers": headers} for status, headers in answers])

    def header(self, name):
        return [request.headers.get(name) for request in self._mocker.request_history]


class Responses:
    """responses: it takes the place of ``HTTPAdapter.send``."""

    def __init__(self):
        self._mock = responses.RequestsMock()

    def __enter__(self):
        self._mock.start()
        return self

    def __exit__(self, *_):
        self._mock.stop()
        self._mock.reset()

    def answer(self, url, *answers):
        for status, headers in answers:
            self._mock.get(url, status=status, headers=headers)

    def header(self, name):
        return [call.request.headers.get(name) for call in self._mock.calls]


@pytest.fixture(params=[RequestsMock, Responses])
def mocked(request):
    with request.param() as mock:
        yield mock


def test_each_send_is_one_request(instrument, telemetry, mocked):
    mocked.answer(FIRST, (302, {"Location": SECOND}))
    mocked.answer(SECOND, (200, {}))
    instrument()
    Context.new("abc")

    requests.get(FIRST)

    assert statuses(telemetry) == [302, 200]
    assert resend_counts(telemetry) == [None, 1]
    assert [header.split("-")[2] for header in mocked.header("traceparent")] == span_ids(telemetry)
    assert mocked.header("X-Request-Id") == [f"{span_id}-abc" for span_id in span_ids(telemetry)]


def test_an_error_is_that_of_the_mock(instrument, telemetry, mocked):
    instrument()

    with pytest.raises((requests.exceptions.ConnectionError, requests_mock.exceptions.NoMockAddress)):
        requests.get(FIRST)

    assert telemetry.span.attributes["error.type"].endswith(("ConnectionError", "NoMockAddress"))


def test_a_mock_is_not_told_of_after_uninstrumenting(instrument, telemetry, mocked):
    mocked.answer(FIRST, (200, {}))
    instrument()
    RequestsInstrumentor().uninstrument()

    requests.get(FIRST)

    assert telemetry.spans == []
    assert mocked.header("traceparent") == [None]


def test_a_mock_is_told_of_once_where_it_was_imported_after_instrumenting(run_python):
    output = run_python(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from hopline.requests import RequestsInstrumentor
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        RequestsInstrumentor().instrument(tracer_provider=provider)
        import requests, requests_mock

        def get():
            with requests_mock.Mocker() as mock:
                mock.get("http://api.test/")
                requests.get("http://api.test/")
            print(len(exporter.get_finished_spans()))

        get()
        RequestsInstrumentor().uninstrument()
        get()
        RequestsInstrumentor().instrument(tracer_provider=provider)
        get()
        """
    )

    assert output.split() == ["1", "1", "2"]


def test_an_adapter_of_requests_mock_can_be_mounted(instrument, telemetry, session):
    instrument()
    adapter = requests_mock.Adapter()
    adapter.register_uri("GET", "mock://api.test/", text="ok", status_code=404)
    session.mount("mock://", adapter)

    assert session.get("mock://api.test/").text == "ok"

    assert statuses(telemetry) == [404]
    assert telemetry.span.attributes["error.type"] == "404"


def test_a_status_of_a_mocks_own_type_is_not_told_of_other_hosts(instrument, telemetry, session):
    instrument()
    adapter = requests_mock.Adapter()
    adapter.register_uri("GET", FIRST, status_code=HTTPStatus.NOT_EXTENDED)
    adapter.register_uri("GET", SECOND, status_code=510)
    session.mount("http://", adapter)

    session.get(FIRST)
    session.get(SECOND)

    assert type(telemetry.spans[1].attributes["http.response.status_code"]) is int


def test_what_a_mock_lets_through_is_on_the_wire(instrument, telemetry, server, session):
    instrument()

    with requests_mock.Mocker(real_http=True):
        session.get(server.url)

    assert server.header("traceparent")[0].split("-")[2] == span_ids(telemetry)[-1]
    assert telemetry.spans[-1].attributes["http.response.status_code"] == 200


def test_authentication_and_retries_within_a_mock_break_nothing(instrument, telemetry, session):
    instrument()
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0, status_forcelist=[503])))

    with Responses() as mock:
        mock.answer(FIRST, (401, CHALLENGE), (503, {}), (200, {}))
        response = session.get(FIRST, auth=HTTPDigestAuth("me", "secret"))

    assert response.status_code == 200
    assert [span.name for span in telemetry.spans] == ["GET"]


def test_a_response_whose_raw_one_is_a_mock_ends_its_span_all_the_same(instrument, telemetry, monkeypatch):
    answer = requests.Response()
    answer.status_code, answer.url, answer.raw, answer._content = 200, FIRST, MagicMock(), b"ok"
    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", lambda *_, **__: answer)
    instrument(body_sizes=True)

    requests.get(FIRST)

    assert statuses(telemetry) == [200]
    assert telemetry.point("http.client.response.body.size").sum == 0
