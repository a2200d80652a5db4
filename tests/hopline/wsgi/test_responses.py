"""How a response may go: streamed, written, sent as a file, broken off, never read; and what is told of it."""

from __future__ import annotations

import gc
import io
import sys
import weakref
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper

import pytest
from opentelemetry.trace import StatusCode

from hopline import Context
from tests.gateway import Gateway, hello


class Boom(Exception):
    pass


class Body:
    """A response whose steps fail where they are told to."""

    def __init__(self, *, at_iter=None, at_next=None, at_close=None):
        self._at_iter = at_iter
        self._at_next = at_next
        self._at_close = at_close
        self.closed = 0

    def __iter__(self):
        if self._at_iter is not None:
            raise self._at_iter
        yield b"first"
        if self._at_next is not None:
            raise self._at_next

    def close(self):
        self.closed += 1
        if self._at_close is not None:
            raise self._at_close


def returning(result, status="200 OK", headers=()):
    def app(environ, start_response):
        start_response(status, list(headers))
        return result

    return app


def test_an_exception_before_the_response_goes_through_and_is_told_as_a_500(wrap, telemetry):
    error = Boom("no")

    def app(environ, start_response):
        raise error

    with pytest.raises(Boom) as raised:
        Gateway(wrap(app)).serve()

    assert raised.value is error
    assert telemetry.span.attributes["http.response.status_code"] == 500
    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"
    assert telemetry.span.status.description == "no"
    assert telemetry.span.events[0].name == "exception"
    assert Context.request_id is None


def test_an_exception_whose_message_cannot_be_had_is_told_by_its_name(wrap, telemetry):
    class Mute(Exception):
        def __str__(self):
            raise AttributeError("there is no request")

    def app(environ, start_response):
        raise Mute

    with pytest.raises(Mute):
        Gateway(wrap(app)).serve()

    assert telemetry.span.status.description.endswith("Mute")
    assert [point.value for point in telemetry.points("http.server.active_requests")] in ([], [0])


def test_an_exception_is_told_without_the_secrets_that_it_and_what_it_came_of_quote(wrap, telemetry):
    def app(environ, start_response):
        try:
            raise Boom("https://user:PASSWORD@bucket/")
        except Boom as error:
            raise Boom("https://bucket/?X-Amz-Signature=SECRET") from error

    with pytest.raises(Boom):
        Gateway(wrap(app)).serve()

    (event,) = telemetry.span.events
    assert event.attributes["exception.message"] == "https://bucket/?X-Amz-Signature=REDACTED"
    assert "Boom: https://REDACTED:REDACTED@bucket/" in event.attributes["exception.stacktrace"]
    assert not any(secret in event.attributes["exception.stacktrace"] for secret in ("PASSWORD", "SECRET"))


def test_a_base_exception_ends_the_span_without_claiming_an_answer(wrap, telemetry):
    def app(environ, start_response):
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        Gateway(wrap(app)).serve()

    assert telemetry.span.attributes["error.type"] == "SystemExit"
    assert "http.response.status_code" not in telemetry.span.attributes
    assert telemetry.point("http.server.request.duration").count == 1


def test_an_exception_after_the_response_has_begun_keeps_its_status(wrap, telemetry):
    def app(environ, start_response):
        start_response("201 Created", [])
        raise Boom

    with pytest.raises(Boom):
        Gateway(wrap(app)).serve()

    assert telemetry.span.attributes["http.response.status_code"] == 201
    assert telemetry.span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("step", ["at_iter", "at_next", "at_close"])
def test_an_exception_in_any_step_of_the_response_goes_through_and_is_told(wrap, telemetry, step):
    body = Body(**{step: Boom("late")})

    with pytest.raises(Boom):
        Gateway(wrap(returning(body))).serve()

    assert body.closed == 1
    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"
    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert Context.request_id is None


def test_an_error_response_in_place_of_the_first_one_is_what_is_told(wrap, telemetry):
    def app(environ, start_response):
        start_response("200 OK", [("X-Tag", "a")])
        try:
            raise Boom
        except Boom:
            start_response("502 Bad Gateway", [], sys.exc_info())
        return [b""]

    gateway = Gateway(wrap(app), HTTP_X_REQUEST_ID="abc")
    gateway.serve()

    assert (gateway.status, gateway.headers) == ("502 Bad Gateway", {"X-Request-Id": "abc"})
    assert telemetry.span.attributes["http.response.status_code"] == 502


def test_an_error_response_that_comes_too_late_raises_what_the_server_raises(wrap, telemetry):
    gateway = None

    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"begun")
        gateway.headers_sent = True
        try:
            raise Boom("why")
        except Boom:
            start_response("500 Oops", [], sys.exc_info())

    gateway = Gateway(wrap(app))
    with pytest.raises(Boom, match="why"):
        gateway.serve()

    assert telemetry.span.attributes["error.type"] == f"{__name__}.Boom"


def test_a_status_that_is_no_text_goes_to_the_server_as_it_is(wrap, telemetry, caplog):
    seen = []

    def app(environ, start_response):
        start_response(b"200 OK", [])
        return []

    wrap(app)({"REQUEST_METHOD": "GET"}, lambda *arguments: seen.append(arguments)).close()

    assert seen == [(b"200 OK", [])]
    assert caplog.text == ""


@pytest.mark.parametrize("headers", [(("X-Tag", "a"),), {"X-Tag": "a"}.items(), iter([("X-Tag", "a")])])
def test_header_fields_that_are_no_list_get_the_id_as_well(wrap, telemetry, headers):
    def app(environ, start_response):
        start_response("200 OK", headers)
        return []

    gateway = Gateway(wrap(app), HTTP_X_REQUEST_ID="abc")
    gateway.serve()

    assert gateway.headers == {"X-Tag": "a", "X-Request-Id": "abc"}
    assert telemetry.span.attributes["http.response.status_code"] == 200


def test_a_server_that_takes_no_tuple_gets_one_to_refuse(wrap):
    def app(environ, start_response):
        start_response("200 OK", (("X-Tag", "a"),))
        return []

    errors, environ = io.StringIO(), {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}
    SimpleHandler(io.BytesIO(), io.BytesIO(), errors, environ, multithread=False).run(wrap(app))

    assert "TypeError" in errors.getvalue()


def test_a_length_that_is_a_number_is_one(wrap, telemetry, caplog):
    Gateway(wrap(returning([], headers=[("Content-Length", 0)]))).serve()

    assert caplog.text == ""


def test_a_server_without_a_write_function_gives_the_application_none(wrap):
    seen = []

    def app(environ, start_response):
        seen.append(start_response("200 OK", []))
        return []

    wrap(app)({"REQUEST_METHOD": "GET"}, lambda *_: None).close()

    assert seen == [None]


def test_what_the_application_writes_reaches_the_server(wrap):
    def app(environ, start_response):
        write = start_response("200 OK", [])
        write(b"one")
        write(b"two")
        return [b"three"]

    gateway = Gateway(wrap(app))

    assert gateway.serve() == b"three"
    assert gateway.written == [b"one", b"two"]


@pytest.mark.parametrize("result", [[b"a", None, b"b"], iter([b"a", None, b"b"])])
def test_a_chunk_that_is_none_is_the_servers_to_take_or_to_refuse(wrap, telemetry, result):
    gateway = Gateway(wrap(returning(result))).call()

    assert list(gateway.result) == [b"a", None, b"b"]
    gateway.result.close()
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_what_is_no_response_raises_what_it_raises_without_us(wrap, telemetry):
    with pytest.raises(TypeError, match="iterable"):
        Gateway(wrap(returning(None))).serve()

    assert telemetry.span.attributes["error.type"] == "TypeError"


def test_a_sequence_of_the_old_kind_is_a_response(wrap, telemetry):
    class Old:
        def __getitem__(self, index):
            return [b"a", b"b"][index]

    assert Gateway(wrap(returning(Old()))).serve() == b"ab"
    assert telemetry.span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("result", [[b"a", b"bc"], (b"a", b"bc")])
def test_a_list_keeps_its_length_and_can_be_read_twice(wrap, result):
    gateway = Gateway(wrap(returning(result))).call()

    assert len(gateway.result) == 2
    assert list(gateway.result) == list(gateway.result) == [b"a", b"bc"]
    gateway.result.close()


def test_a_list_is_one_to_a_server_that_sends_it_at_once_and_never_closes_it(wrap, telemetry):
    gateway = Gateway(wrap(returning([b"a", b"bc"]))).call()

    assert isinstance(gateway.result, list)  # what granian asks
    assert b"".join(gateway.result) == b"abc"
    before = len(telemetry.spans)
    gateway.result = None

    assert (before, len(telemetry.spans)) == (0, 1)


def test_bytes_reach_a_server_that_sends_them_whole(wrap, telemetry):
    gateway = Gateway(wrap(returning(b"abc"))).call()

    assert gateway.result == b"abc"
    assert telemetry.span.attributes["http.response.status_code"] == 200


def test_a_server_can_tell_the_length_of_a_response_of_one_chunk(wrap):
    out = io.BytesIO()
    environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}
    handler = SimpleHandler(io.BytesIO(), out, io.StringIO(), environ, multithread=False)

    handler.run(wrap(hello))

    assert b"Content-Length: 5" in out.getvalue()


def test_a_sized_response_of_the_applications_own_is_read_in_the_context(wrap):
    seen = []

    class Sized:
        def __len__(self):
            return 1

        def __iter__(self):
            seen.append(Context.request_id)
            return iter([b"x"])

    gateway = Gateway(wrap(returning(Sized())), HTTP_X_REQUEST_ID="abc").call()

    assert (len(gateway.result), list(gateway.result)) == (1, [b"x"])
    assert seen == ["abc"]
    gateway.result.close()


def test_a_response_that_is_closed_half_read_is_no_error(wrap, telemetry):
    gateway = Gateway(wrap(returning(x for x in (b"a", b"b")))).call()
    next(iter(gateway.result))

    gateway.result.close()

    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_a_response_that_is_closed_twice_ends_once_and_is_closed_as_often_as_the_server_did(wrap, telemetry):
    body = Body()
    gateway = Gateway(wrap(returning(body))).call()

    gateway.result.close()
    gateway.result.close()

    assert body.closed == 2
    assert len(telemetry.spans) == 1


@pytest.mark.parametrize("read", [False, True])
def test_a_response_that_is_never_closed_ends_when_nobody_has_it_any_more(wrap, telemetry, read):
    gateway = Gateway(wrap(returning(x for x in (b"a",)))).call()
    if read:
        list(gateway.result)
    before = len(telemetry.spans)

    del gateway
    gc.collect()

    assert (before, len(telemetry.spans)) == (0, 1)
    assert telemetry.points("http.server.active_requests") == []


def test_a_response_of_which_the_server_keeps_only_the_iterator_lasts_as_long(wrap, telemetry):
    chunks = iter(wrap(returning(x for x in (b"a", b"b")))({"REQUEST_METHOD": "GET"}, lambda *_: None))

    next(chunks)
    while_read = len(telemetry.spans)
    del chunks
    gc.collect()

    assert (while_read, len(telemetry.spans)) == (0, 1)


def file_app(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))


def test_a_file_goes_to_the_server_as_the_servers_own_type_and_is_told_when_it_is_closed(wrap, telemetry):
    gateway = Gateway(wrap(file_app), **{"wsgi.file_wrapper": FileWrapper}).call()
    before = len(telemetry.spans)

    assert type(gateway.result) is FileWrapper
    assert b"".join(gateway.result) == b"file"
    gateway.result.close()

    assert (before, len(telemetry.spans)) == (0, 1)
    assert gateway.result.filelike.closed


def test_a_file_goes_as_it_is_to_a_server_whose_wrapper_is_a_function(wrap, telemetry):
    def sent_fast(file, chunk_size=0):  # uWSGI's notes the file, and looks for it in what the application returns
        noted.append(file)
        return file

    noted = []
    gateway = Gateway(wrap(file_app), **{"wsgi.file_wrapper": sent_fast}).call()
    before = len(telemetry.spans)

    assert gateway.result is noted[0]
    gateway.result.close()

    assert (before, len(telemetry.spans)) == (0, 1)
    assert noted[0].closed


def test_a_file_that_has_no_close_gets_one(wrap, telemetry):
    class Plain:
        def __init__(self, filelike):
            pass

    gateway = Gateway(wrap(file_app), **{"wsgi.file_wrapper": Plain}).call()

    gateway.result.close()

    assert telemetry.span.attributes["http.response.status_code"] == 200


def test_a_file_type_that_cannot_be_watched_is_told_when_the_application_returns_it(wrap, telemetry):
    class Sealed:
        __slots__ = ()

        def __init__(self, filelike):
            pass

    gateway = Gateway(wrap(file_app), **{"wsgi.file_wrapper": Sealed}).call()

    assert type(gateway.result) is Sealed
    assert telemetry.span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("app", [hello, returning(Body()), file_app])
def test_what_a_request_has_held_is_let_go_without_the_garbage_collector(wrap, app):
    class Held:
        pass

    held = Held()
    reference = weakref.ref(held)
    gateway = Gateway(wrap(app), held=held, **{"wsgi.file_wrapper": FileWrapper})
    del held
    gc.disable()
    try:
        gateway.serve()
        gateway.result = gateway.environ = None
        assert reference() is None
    finally:
        gc.enable()
