"""The context that a request is served in: its id, where it holds, and that nothing of it stays."""

from __future__ import annotations

import logging
import threading
import wsgiref.validate
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta, timezone

import paste.lint
import pytest
import requests
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import hopline
from hopline import Context, _serving
from hopline.propagators import DeadlinePropagator, RequestIdPropagator
from hopline.request_id import is_valid
from hopline.wsgi import WsgiInstrumentor
from tests.gateway import Gateway, hello


class Seen:
    """An application that notes what holds while it is called and while its response is read and closed."""

    def __init__(self, chunks=3):
        self.notes = []
        self._chunks = chunks

    def __call__(self, environ, start_response):
        self.note("call")
        start_response("200 OK", [])
        return self.body()

    def body(self):
        try:
            for _ in range(self._chunks):
                self.note("chunk")
                yield b"x"
        finally:
            self.note("close")

    def note(self, when):
        span_id = trace.get_current_span().get_span_context().span_id
        self.notes.append((when, Context.request_id, span_id))


def attached():
    """What is attached to this thread, ours and OpenTelemetry's."""
    return dict(otel_context.get_current()), Context.request_id


def test_a_valid_id_that_comes_in_is_the_requests(wrap, telemetry):
    gateway = Gateway(wrap(hello), HTTP_X_REQUEST_ID="order-17")

    gateway.serve()

    assert gateway.environ["REQUEST_ID"] == "order-17"
    assert gateway.headers["X-Request-Id"] == "order-17"
    assert telemetry.span.attributes["hopline.request_id"] == "order-17"


def test_a_request_without_an_id_gets_one(wrap, telemetry):
    gateway = Gateway(wrap(hello))

    gateway.serve()

    assert is_valid(gateway.headers["X-Request-Id"])
    assert gateway.environ["REQUEST_ID"] == gateway.headers["X-Request-Id"]
    assert telemetry.span.attributes["hopline.request_id"] == gateway.headers["X-Request-Id"]


HOSTILE = [
    "x" * 4096,
    "a\r\nSet-Cookie: b=1",
    "a\nb",
    "a\0b",
    "caf\xe9\xff",
    "a%0d%0aSet-Cookie:%20b=1",
    "%s%n{0.__class__}",
    "\x1b[31mred",
    "a b",
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_id_is_replaced_and_neither_echoed_nor_logged(wrap, telemetry, caplog, hostile):
    caplog.set_level(logging.DEBUG)
    gateway = Gateway(wrap(hello), HTTP_X_REQUEST_ID=hostile)

    gateway.serve()

    assert is_valid(gateway.headers["X-Request-Id"])
    assert gateway.headers["X-Request-Id"] not in (hostile, "")
    told = [repr(vars(record)) for record in caplog.records] + [repr(dict(telemetry.span.attributes))]
    assert not hostile or not any(hostile in text or repr(hostile)[1:-1] in text for text in told)


def test_an_id_from_outside_is_not_kept_where_a_setting_says_so(telemetry, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_HOPLINE_TRUST_INCOMING", "false")
    propagate.set_global_textmap(CompositePropagator([RequestIdPropagator()]))
    gateway = Gateway(hopline.wsgi.RequestContextMiddleware(hello), HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert gateway.headers["X-Request-Id"] != "abc"


@pytest.mark.parametrize("propagators", [[], [TraceContextTextMapPropagator()]])
def test_the_id_is_read_even_where_the_global_propagator_leaves_it_out(wrap, propagators):
    propagate.set_global_textmap(CompositePropagator(propagators))
    gateway = Gateway(wrap(hello), HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert gateway.headers["X-Request-Id"] == "abc"


def test_a_propagator_that_raises_costs_the_request_no_id(wrap, caplog):
    class Broken(TraceContextTextMapPropagator):
        def extract(self, *arguments, **keywords):
            raise RuntimeError("broken")

    propagate.set_global_textmap(Broken())
    gateway = Gateway(wrap(hello), HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert gateway.headers["X-Request-Id"] == "abc"
    assert "RuntimeError" in caplog.text


def test_an_id_that_the_application_has_put_on_the_response_stays(wrap):
    def app(environ, start_response):
        start_response("200 OK", [("x-request-ID", "mine")])
        return []

    gateway = Gateway(wrap(app))

    gateway.serve()

    assert gateway.headers == {"x-request-ID": "mine"}


def test_the_response_has_the_id_that_the_application_has_changed_to(wrap, telemetry):
    def app(environ, start_response):
        Context.request_id = "changed"
        return hello(environ, start_response)

    gateway = Gateway(wrap(app), HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert gateway.headers["X-Request-Id"] == "changed"
    assert telemetry.span.attributes["hopline.request_id"] == "changed"


def test_a_response_has_no_id_once_the_application_has_cleared_it(wrap):
    def app(environ, start_response):
        Context.clear()
        return hello(environ, start_response)

    gateway = Gateway(wrap(app), HTTP_X_REQUEST_ID="abc")

    gateway.serve()

    assert "X-Request-Id" not in gateway.headers


def test_the_header_list_of_the_application_is_not_changed(wrap):
    headers = [("Content-Type", "text/plain")]

    def app(environ, start_response):
        start_response("200 OK", headers)
        return []

    Gateway(wrap(app)).serve()

    assert headers == [("Content-Type", "text/plain")]


def test_the_context_holds_until_the_response_is_closed(wrap, telemetry):
    app = Seen(chunks=2)

    Gateway(wrap(app), HTTP_X_REQUEST_ID="abc").serve()

    span_id = telemetry.span.context.span_id
    assert app.notes == [(when, "abc", span_id) for when in ("call", "chunk", "chunk", "close")]


def test_nothing_stays_attached_between_the_steps_of_a_response(wrap):
    outside = attached()
    gateway = Gateway(wrap(Seen()), HTTP_X_REQUEST_ID="abc").call()
    after_the_call = attached()
    chunks = iter(gateway.result)
    next(chunks)
    after_a_chunk = attached()
    gateway.result.close()

    assert after_the_call == after_a_chunk == attached() == outside


def test_the_context_holds_in_whatever_thread_the_server_reads_and_closes_the_response(wrap, telemetry):
    app = Seen(chunks=3)
    gateway = Gateway(wrap(app), HTTP_X_REQUEST_ID="abc").call()
    chunks = iter(gateway.result)
    outside = []

    def one(step):
        outside.append(Context.request_id)
        step()
        outside.append(Context.request_id)

    for step in (chunks.__next__, chunks.__next__, gateway.result.close):
        thread = threading.Thread(target=one, args=(step,))
        thread.start()
        thread.join()

    span_id = telemetry.span.context.span_id
    assert app.notes == [(when, "abc", span_id) for when in ("call", "chunk", "chunk", "close")]
    assert set(outside) == {None}


def test_the_context_holds_when_each_step_has_an_execution_context_of_its_own(wrap):
    app = Seen(chunks=2)
    gateway = copy_context().run(Gateway(wrap(app), HTTP_X_REQUEST_ID="abc").call)
    chunks = copy_context().run(iter, gateway.result)

    copy_context().run(list, chunks)
    copy_context().run(gateway.result.close)

    assert {request_id for _, request_id, _ in app.notes} == {"abc"}


def test_what_the_application_pushes_is_there_while_its_response_is_read_and_gone_afterwards(wrap):
    seen = []

    def app(environ, start_response):
        Context.logging.push(user="ann")
        start_response("200 OK", [])
        return body()

    def body():
        seen.append(dict(Context.logging.extras))
        yield b""

    Gateway(wrap(app)).serve()

    assert seen == [{"user": "ann"}]
    assert dict(Context.logging.extras) == {}


def test_requests_served_at_the_same_time_do_not_see_each_other(wrap):
    both = threading.Barrier(2)
    seen = []

    def app(environ, start_response):
        start_response("200 OK", [])
        return body(environ["REQUEST_ID"])

    def body(expected):
        for _ in range(20):
            both.wait()
            seen.append((Context.request_id, expected))
            yield b""

    app = wrap(app)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: Gateway(app, HTTP_X_REQUEST_ID=name).serve(), ["one", "two"]))

    assert len(seen) == 40
    assert all(there == expected for there, expected in seen)


def test_a_deadline_that_comes_in_is_the_requests(wrap):
    propagate.set_global_textmap(CompositePropagator([RequestIdPropagator(), DeadlinePropagator()]))
    moment = datetime.now(timezone.utc) + timedelta(hours=1)
    seen = []

    def app(environ, start_response):
        seen.append(Context.deadline)
        return hello(environ, start_response)

    Gateway(wrap(app), HTTP_X_REQUEST_DEADLINE=moment.isoformat()).serve()

    assert abs((seen[0] - moment).total_seconds()) < 0.01


def test_the_environ_has_the_threads_session_without_having_made_it(wrap, server):
    made = []

    def app(environ, start_response):
        session = environ["requests"]
        made.append(("repr", repr(session)[:1]))
        made.append(("is a session", isinstance(session, requests.Session)))
        made.append(("the thread's", session.headers is hopline.get_session().headers))
        session.max_redirects = 3
        made.append(("set", hopline.get_session().max_redirects))
        made.append(("answer", session.get(server.url).status_code))
        hopline.get_session().own = 1
        del session.own
        made.append(("deleted", hasattr(hopline.get_session(), "own")))
        return hello(environ, start_response)

    Gateway(wrap(app)).serve()
    hopline.requests.clear()

    assert made == [
        ("repr", "<"),
        ("is a session", True),
        ("the thread's", True),
        ("set", 3),
        ("answer", 200),
        ("deleted", False),
    ]


@pytest.mark.parametrize("check", [wsgiref.validate.validator, paste.lint.middleware])
def test_an_environ_is_valid_for_who_checks_it(wrap, check):
    WsgiInstrumentor().instrument()
    try:
        body = Gateway(wrap(check(hello)), QUERY_STRING="", SCRIPT_NAME="").serve()
    finally:
        WsgiInstrumentor().uninstrument()

    assert body == b"hello"


def test_serving_a_request_does_not_import_requests(run_python):
    said = run_python(
        """
        import sys
        from hopline.wsgi import RequestContextMiddleware
        def app(environ, start_response):
            repr(environ), [isinstance(value, str) for value in environ.values()]
            start_response("200 OK", [])
            return []
        environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}
        RequestContextMiddleware(app)(environ, lambda *_: None).close()
        print("requests" in environ, "requests" in sys.modules)
        """
    )

    assert said.split() == ["True", "False"]


def test_in_a_servers_turn_the_context_stays_until_its_end(wrap):
    def turn():
        Gateway(wrap(hello), HTTP_X_REQUEST_ID="abc").serve()
        return Context.request_id

    assert _serving.in_a_turn(turn, None, (), {}) == "abc"
    assert Context.request_id is None


def test_of_two_requests_in_one_turn_each_has_its_own_context_and_trace(wrap, telemetry):
    def app(environ, start_response):
        seen.append((Context.request_id, dict(Context.logging.extras)))
        Context.logging.push(user="ada")
        return hello(environ, start_response)

    def turn():
        for request_id in ("one", "two"):
            Gateway(wrap(app), HTTP_X_REQUEST_ID=request_id).serve()

    seen = []
    _serving.in_a_turn(turn, None, (), {})

    assert seen == [("one", {}), ("two", {})]
    first, second = telemetry.spans
    assert first.context.trace_id != second.context.trace_id
    assert second.parent is None


def test_what_an_application_serves_within_a_turn_leaves_nothing_behind(wrap, telemetry):
    def app(environ, start_response):
        with telemetry.tracer.start_as_current_span("client"):
            Gateway(wrap(hello), HTTP_X_REQUEST_ID="inner").serve()
            seen.append(Context.request_id)
        return hello(environ, start_response)

    seen = []
    _serving.in_a_turn(Gateway(wrap(app), HTTP_X_REQUEST_ID="outer").serve, None, (), {})

    assert seen == ["outer"]
    assert len(telemetry.spans) == 3
