"""Bodies that are streamed: their span ends at the header, and how they end is measured apart."""

from __future__ import annotations

import gc
import gzip

import pytest
import requests
import urllib3

from tests.loopback import Answer

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


def test_a_session_that_streams_by_default_is_told_of_alike(instrument, telemetry, server, session):
    instrument()
    session.stream = True

    session.get(server.url).content  # noqa: B018

    assert outcome(telemetry) == "consumed"


def test_a_body_read_after_uninstrumenting_is_as_ever(instrument, server, session):
    from hopline.requests import RequestsInstrumentor

    instrument()
    response = session.get(server.url, stream=True)

    RequestsInstrumentor().uninstrument()

    assert response.content == b"ok"
