"""Bodies that are streamed: their span ends at the header, and how they end is measured apart."""

from __future__ import annotations

import gc
import gzip
import io
import math
import shutil

import pytest
import requests
import urllib3
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util.retry import Retry

from hopline.requests import RequestsInstrumentor
from hopline_statsd import StatsdConfig
from hopline_statsd.listener import StatsdListener
from hopline_statsd.metrics import StatsdMetricExporter
from tests.hopline.requests.test_attempts import CHALLENGE
from tests.loopback import Answer
from tests.servers import wait_until

DURATION = "hopline.http.client.body.duration"
SIZE = "hopline.http.client.body.size"


def outcome(telemetry):
    return telemetry.point(SIZE).attributes["hopline.outcome"]


def test_the_span_of_a_streamed_response_ends_at_the_header_and_is_not_touched(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.url, stream=True)
    ended = telemetry.span.to_json()

    response.content  # noqa: B018 - reads the body

    assert telemetry.span.to_json() == ended


@pytest.mark.parametrize("answer", [Answer(body=b"x" * 5000), Answer(chunks=[b"x" * 2500] * 2)])
@pytest.mark.parametrize(
    "read",
    [
        lambda response: response.content,
        lambda response: list(response.iter_content(100)),
        lambda response: list(response.iter_lines()),
        lambda response: response.raw.read(),
        lambda response: list(response.raw.stream(64)),
    ],
)
def test_a_body_that_is_read_to_its_end_is_consumed(instrument, telemetry, server, session, answer, read):
    instrument()
    response = session.get(server.answer("/", answer), stream=True)
    assert telemetry.points(SIZE) == []

    read(response)

    assert outcome(telemetry) == "consumed"
    assert telemetry.point(SIZE).sum == 5000
    assert telemetry.point(DURATION).count == 1


def test_a_body_is_told_of_with_the_method_host_and_status(instrument, telemetry, server, session):
    instrument()

    session.get(server.answer("/", Answer(404)), stream=True).close()

    attributes = dict(telemetry.point(SIZE).attributes)
    assert attributes["http.request.method"] == "GET"
    assert attributes["http.response.status_code"] == 404
    assert attributes["server.address"] == "127.0.0.1"


def test_a_body_that_is_closed_before_its_end_is_closed(instrument, telemetry, server, session):
    instrument()

    with session.get(server.answer("/", Answer(body=b"x" * 100_000)), stream=True) as response:
        next(response.iter_content(1000))

    assert outcome(telemetry) == "closed"
    assert 1000 <= telemetry.point(SIZE).sum < 100_000


def test_a_body_whose_chunks_are_not_all_asked_for_is_closed(instrument, telemetry, server, session):
    instrument()

    with session.get(server.answer("/", Answer(chunks=[b"x" * 1000] * 5)), stream=True) as response:
        for _ in response.iter_content(1000):
            break

    assert outcome(telemetry) == "closed"
    assert telemetry.point(SIZE).sum == 1000


def test_a_body_that_is_closed_while_another_error_is_handled_is_closed(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.url, stream=True)

    try:
        raise LookupError
    except LookupError:
        response.close()

    assert outcome(telemetry) == "closed"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_body_that_is_dropped_is_abandoned(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.answer("/", Answer(body=b"x" * 100_000)), stream=True)

    del response
    gc.collect()

    assert outcome(telemetry) == "abandoned"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_body_that_is_dropped_within_a_cycle_is_abandoned_once(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.answer("/", Answer(body=b"x" * 100_000)), stream=True)
    next(response.iter_content(1000))
    response.mine = response

    del response
    gc.collect()

    assert outcome(telemetry) == "abandoned"
    assert telemetry.point(SIZE).count == 1
    assert telemetry.point(SIZE).sum >= 1000


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("again", [False, True], ids=["for good", "and instrumented again"])
def test_a_body_that_outlasts_the_instrumentation_is_not_told_of(instrument, telemetry, server, session, again):
    instrument()
    response = session.get(server.answer("/", Answer(body=b"x" * 100_000)), stream=True)
    response.mine = response
    RequestsInstrumentor().uninstrument()
    if again:
        instrument()

    del response
    gc.collect()

    assert telemetry.points(SIZE) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_body_that_begins_while_uninstrumenting_is_not_told_of(instrument, telemetry, server, session):
    def uninstrument(response, **_):
        RequestsInstrumentor().uninstrument()

    instrument()
    response = session.get(
        server.answer("/", Answer(body=b"x" * 100_000)), stream=True, hooks={"response": uninstrument}
    )
    response.mine = response
    instrument()

    del response
    gc.collect()

    assert telemetry.points(SIZE) == []


def test_a_body_that_breaks_off_has_the_error(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.answer("/", Answer(chunks=[b"short"], cut=True)), stream=True)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018

    assert outcome(telemetry) in ("urllib3.exceptions.ProtocolError", "urllib3.exceptions.InvalidChunkLength")
    assert telemetry.point(SIZE).sum == 5


def test_a_body_is_told_of_once(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.url, stream=True)

    response.content  # noqa: B018
    response.close()
    del response
    gc.collect()

    assert telemetry.point(SIZE).count == 1


def test_the_size_is_that_on_the_wire_and_the_bytes_read_are_decoded(instrument, telemetry, server, session):
    compressed = gzip.compress(b"x" * 10_000)
    instrument()
    url = server.answer("/", Answer(headers={"Content-Encoding": "gzip"}, body=compressed))

    response = session.get(url, stream=True)

    assert response.content == b"x" * 10_000
    assert telemetry.point(SIZE).sum == len(compressed)


def test_the_raw_response_keeps_its_type(instrument, server, session):
    instrument()

    with session.get(server.url, stream=True) as response:
        assert type(response.raw) is urllib3.response.HTTPResponse
        assert response.raw.read() == b"ok"


def test_a_response_without_a_body_is_not_streamed(instrument, telemetry, server, session):
    instrument()

    session.head(server.url, stream=True)
    session.get(server.answer("/", Answer(204, body=b"")), stream=True)

    assert telemetry.points(SIZE) == []


def test_a_response_that_is_not_streamed_has_its_body_within_its_span(instrument, telemetry, server, session):
    instrument()

    session.get(server.url)

    assert telemetry.points(SIZE) == []


@pytest.mark.parametrize(
    "send", [requests.Session.get, lambda session, url: session.send(requests.Request("GET", url).prepare())]
)
def test_a_session_that_streams_by_default_is_told_of_alike(instrument, telemetry, server, session, send):
    instrument()
    session.stream = True

    send(session, server.url).content  # noqa: B018

    assert outcome(telemetry) == "consumed"


def test_a_body_read_after_uninstrumenting_is_as_ever(instrument, server, session):
    from hopline.requests import RequestsInstrumentor

    instrument()
    response = session.get(server.url, stream=True)

    RequestsInstrumentor().uninstrument()

    assert response.content == b"ok"


@pytest.mark.parametrize("answer", [Answer(body=b"x\n" * 2500), Answer(chunks=[b"x\n" * 1250] * 2)])
@pytest.mark.parametrize(
    "read",
    [
        lambda raw: shutil.copyfileobj(raw, io.BytesIO()),
        lambda raw: io.BufferedReader(raw).read(),
        list,
        lambda raw: raw.data,
        lambda raw: raw.drain_conn(),
        lambda raw: list(iter(lambda: raw.read(7), b"")),
        lambda raw: list(iter(lambda: raw.readinto(bytearray(100)), 0)),
    ],
    ids=["copyfileobj", "BufferedReader", "lines", "data", "drain_conn", "read", "readinto"],
)
def test_a_raw_response_can_be_read_in_any_way(instrument, telemetry, server, session, answer, read):
    instrument()

    read(session.get(server.answer("/", answer), stream=True).raw)

    assert outcome(telemetry) == "consumed"
    assert telemetry.point(SIZE).sum == 5000


def test_a_body_that_does_not_come_in_time_has_the_time_out(instrument, telemetry, server, session, stalling):
    instrument()
    response = session.get(server.answer("/", Answer(chunks=stalling)), stream=True, timeout=0.2)

    with pytest.raises(requests.exceptions.ConnectionError):
        response.content  # noqa: B018

    assert outcome(telemetry) == "urllib3.exceptions.ReadTimeoutError"
    assert telemetry.point(SIZE).sum == 10


@pytest.mark.parametrize("answer", [Answer(body=b"x" * 100_000), Answer(chunks=[b"x" * 10, b"x" * 10])])
def test_a_body_whose_reader_is_interrupted_has_the_exception(instrument, telemetry, server, session, answer):
    class Interrupting:
        def interrupt(self, *_):
            raise KeyboardInterrupt

        read = read1 = readinto = readline = interrupt

        def __init__(self, stream):
            self.close, self.flush = stream.close, stream.flush

    instrument()
    response = session.get(server.answer("/", answer), stream=True)
    chunks = response.iter_content(5)
    next(chunks)
    response.raw._fp.fp = Interrupting(response.raw._fp.fp)

    with pytest.raises(KeyboardInterrupt):
        list(chunks)

    assert outcome(telemetry) == "KeyboardInterrupt"
    assert telemetry.point(SIZE).count == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_body_that_is_dropped_frees_its_connection(instrument, telemetry, server, session):
    instrument()
    response = session.get(server.answer("/", Answer(body=b"x" * 1_000_000)), stream=True)

    del response
    gc.collect()

    assert telemetry.point("http.client.connection.duration").count == 1


def test_the_body_that_is_told_of_is_that_of_the_last_attempt(instrument, telemetry, server, session):
    instrument()
    server.answer("/b", Answer(503, body=b"wait"), Answer(401, CHALLENGE, b"who"), Answer(200, body=b"x" * 1000))
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0, status_forcelist=[503])))

    response = session.get(server.redirect("/a", "/b"), stream=True, auth=HTTPDigestAuth("me", "secret"))
    response.content  # noqa: B018

    assert telemetry.point(SIZE).sum == 1000
    assert telemetry.point(SIZE).attributes["http.response.status_code"] == 200


def test_a_body_of_a_url_that_is_excluded_is_not_told_of(instrument, telemetry, server, session):
    instrument(excluded_urls="/health")

    assert session.get(f"{server.url}/health", stream=True).content == b"ok"

    assert telemetry.points(SIZE) == []


def test_the_statsd_metrics_exporter_names_bodies_by_host_and_method(instrument, telemetry, server, session):
    with StatsdListener() as statsd:
        exporter = StatsdMetricExporter(StatsdConfig(endpoint=statsd.endpoint, prefix="my.prefix"))
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        meter_provider = MeterProvider([reader], shutdown_on_exit=False)
        instrument(meter_provider=meter_provider)

        session.get(server.url, stream=True).content  # noqa: B018
        meter_provider.force_flush()
        meter_provider.shutdown()

        name = "my.prefix.requests.127-0-0-1.GET.body"
        wait_until(lambda: f"{name}.size.sum:2|c" in statsd.lines, "the size")
        wait_until(lambda: f"{name}.duration.count:1|c" in statsd.lines, "the duration")


def test_buckets_tell_bodies_of_a_millisecond_from_those_of_a_minute(instrument, telemetry, server, session):
    instrument()

    session.get(server.url, stream=True).content  # noqa: B018

    assert telemetry.point(DURATION).explicit_bounds[0] <= 0.001
    assert telemetry.point(DURATION).explicit_bounds[-1] >= 60
    assert telemetry.point(SIZE).explicit_bounds[-1] >= 1e9
