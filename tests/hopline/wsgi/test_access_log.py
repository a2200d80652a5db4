"""The record that the logger `hopline.access` gets for each request."""

from __future__ import annotations

import io
import logging
from wsgiref.util import FileWrapper

import pytest

from hopline import Context
from tests.gateway import Gateway, hello

FIELDS = ("method", "path", "status", "length", "request_id")


@pytest.fixture
def access(caplog):
    caplog.set_level(logging.INFO, "hopline.access")
    return caplog


def of(record):
    return tuple(getattr(record, name) for name in FIELDS)


def test_a_request_makes_one_record_with_its_fields(wrap, telemetry, access):
    Gateway(wrap(hello), path="/items/17", QUERY_STRING="secret=1", HTTP_X_REQUEST_ID="abc").serve()

    (record,) = access.records
    assert (record.name, record.levelname) == ("hopline.access", "INFO")
    assert of(record) == ("GET", "/items/17", 200, 5, "abc")
    duration = (telemetry.span.end_time - telemetry.span.start_time) / 1e6
    assert record.duration_ms == pytest.approx(duration, abs=0.001)
    assert record.getMessage() == "GET /items/17 200"


def test_a_path_cannot_break_out_of_its_line(wrap, access):
    Gateway(wrap(hello), path="/a\r\nGET /admin\x1b[31m").serve()

    assert access.records[0].getMessage() == "GET /a%0D%0AGET%20/admin%1B%5B31m 200"


def test_what_was_tracked_is_told(wrap, access):
    def app(environ, start_response):
        Context.track("sql", 1.5)
        Context.track("sql", 2.5)
        return hello(environ, start_response)

    Gateway(wrap(app)).serve()

    assert (access.records[0].sql_count, access.records[0].sql_ms) == (2, 4.0)


def test_the_length_is_what_was_sent_however_it_was(wrap, access):
    def app(environ, start_response):
        start_response("200 OK", [])(b"12")
        return (chunk for chunk in (b"345", b"6"))

    Gateway(wrap(app)).serve()

    assert access.records[0].length == 6


def test_a_response_to_head_has_no_length(wrap, access):
    Gateway(wrap(hello), method="HEAD").serve()

    assert of(access.records[0])[:4] == ("HEAD", "/", 200, 0)


def test_the_length_of_a_file_is_the_declared_one(wrap, access):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    Gateway(wrap(app), **{"wsgi.file_wrapper": FileWrapper}).serve()

    assert access.records[0].length == 4


def test_the_length_of_a_file_that_declares_none_is_not_known(wrap, access):
    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    Gateway(wrap(app), **{"wsgi.file_wrapper": FileWrapper}).serve()

    assert access.records[0].length is None


def test_a_request_that_fails_is_told_as_a_500(wrap, access):
    def app(environ, start_response):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Gateway(wrap(app)).serve()

    assert of(access.records[0])[2] == 500


def test_the_record_is_made_in_the_context_of_the_request(wrap, access):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(Context.request_id)

    handler = Handler()
    logging.getLogger("hopline.access").addHandler(handler)
    Gateway(wrap(hello), HTTP_X_REQUEST_ID="abc").serve()
    logging.getLogger("hopline.access").removeHandler(handler)

    assert seen == ["abc"]


def test_a_record_factory_that_sets_the_same_fields_is_no_conflict(wrap, access):
    before = logging.getLogRecordFactory()

    def factory(*arguments, **keywords):
        record = before(*arguments, **keywords)
        record.request_id = "the factory's"
        return record

    logging.setLogRecordFactory(factory)
    try:
        Gateway(wrap(hello), HTTP_X_REQUEST_ID="abc").serve()
    finally:
        logging.setLogRecordFactory(before)

    assert access.records[0].request_id == "abc"


def test_an_excluded_url_makes_no_record(wrap, access):
    Gateway(wrap(hello, excluded_urls="health"), path="/health").serve()

    assert access.records == []


def test_no_record_is_made_where_nobody_wants_it(wrap, caplog):
    caplog.set_level(logging.WARNING, "hopline.access")

    Gateway(wrap(hello)).serve()

    assert caplog.records == []
