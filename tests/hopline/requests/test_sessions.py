"""Sessions of each thread, and sessions that are configured one by one."""

from __future__ import annotations

import gc
import os
import re
import threading
import weakref

import pytest
import requests
from opentelemetry import trace
from requests.adapters import BaseAdapter

import hopline
from hopline import Context
from hopline.http.client import ClientTelemetry
from hopline.requests import RequestsInstrumentor, _sessions, clear, configure, get_session
from hopline.requests._instrumentation import instrumentation
from hopline_statsd.listener import StatsdListener
from tests.forks import exit_code_of_a_child


@pytest.fixture(autouse=True)
def no_sessions():
    yield
    clear()


class Watched(requests.Session):
    """A session that tells when it is closed."""

    closed = 0

    def close(self):
        type(self).closed += 1
        super().close()


def in_a_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_a_thread_has_one_session():
    assert get_session() is get_session()
    assert type(get_session()) is requests.Session


def test_each_thread_has_a_session_of_its_own():
    assert in_a_thread(get_session) is not get_session()


def test_a_thread_has_one_session_of_each_class():
    assert get_session(Watched) is get_session(Watched)
    assert get_session(Watched) is not get_session()


def test_the_public_face_has_it_too():
    assert hopline.get_session() is get_session()


def test_a_session_of_a_thread_carries_ids_without_global_instrumentation(server):
    Context.new("abc")

    get_session().get(server.url)

    assert server.header("X-Request-Id")[0].endswith("-abc")


def test_the_sessions_of_a_thread_that_has_ended_are_closed_and_freed(monkeypatch):
    monkeypatch.setattr(Watched, "closed", 0)

    session = in_a_thread(lambda: weakref.ref(get_session(Watched)))
    gc.collect()

    assert Watched.closed == 1
    assert session() is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_never_closes_the_sessions_of_its_parent(monkeypatch):
    monkeypatch.setattr(Watched, "closed", 0)
    get_session(Watched)

    def drop():
        _sessions._local.forget()  # as in a child of its own
        gc.collect()
        return Watched.closed

    assert exit_code_of_a_child(drop) == 0


def test_clearing_closes_this_threads_sessions_and_the_next_is_new(monkeypatch):
    monkeypatch.setattr(Watched, "closed", 0)
    before = get_session(Watched)

    clear()

    assert Watched.closed == 1
    assert get_session(Watched) is not before


def test_each_greenlet_has_a_session_of_its_own_under_gevent(run_python):
    output = run_python(
        """
        import hopline.requests
        from gevent import monkey, spawn, joinall
        monkey.patch_all()
        from hopline.requests import get_session
        greenlets = [spawn(lambda: (get_session() is get_session(), get_session())) for _ in range(3)]
        joinall(greenlets)
        print([greenlet.value[0] for greenlet in greenlets], len({id(greenlet.value[1]) for greenlet in greenlets}))
        """
    )

    assert output == "[True, True, True] 3\n"


def test_the_id_and_the_attributes_are_the_same_with_and_without_global_instrumentation(
    instrument, telemetry, server, session
):
    def told():
        span = telemetry.spans[-1]
        assert server.header("X-Request-Id")[-1] == f"{span.context.span_id:016x}-abc"
        varying = ("hopline.phase.", "hopline.request_id", "hopline.connection.")
        return span.name, {name: value for name, value in span.attributes.items() if not name.startswith(varying)}

    Context.new("abc")
    configure(session, **telemetry.providers).get(server.url)
    alone = told()

    instrument()
    session.get(server.url)

    assert told() == alone
    assert len(telemetry.spans) == 2


def test_a_request_hook_of_a_session_may_replace_the_request(server, session):
    def elsewhere(request):
        request = request.copy()
        request.url = f"{server.url}/elsewhere"
        return request

    configure(session, pre_request=elsewhere)

    session.get(f"{server.url}/here")

    assert [request.path for request in server.received] == ["/elsewhere"]


def test_a_request_hook_that_returns_nothing_leaves_the_request(server, session):
    configure(session, pre_request=lambda request: request.headers.update({"X-Signed": "1"}))

    session.get(server.url)

    assert server.header("X-Signed") == ["1"]


def test_a_hook_after_each_send_is_given_the_response_or_the_exception(server, session, unused_port):
    seen = []
    configure(session, post_request=lambda request, result: seen.append((request.url, type(result))))
    refused = f"http://127.0.0.1:{unused_port}/"

    session.get(server.redirect("/a", "/b"))
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(refused)

    assert seen == [
        (f"{server.url}/b", requests.Response),
        (f"{server.url}/a", requests.Response),
        (refused, requests.exceptions.ConnectionError),
    ]


@pytest.mark.parametrize("hook", ["pre_request", "post_request"])
def test_a_hook_of_a_session_that_raises_is_logged_and_changes_nothing(server, session, caplog, hook):
    def broken(*_):
        raise ZeroDivisionError

    configure(session, **{hook: broken})

    assert session.get(server.url).text == "ok"
    assert "ZeroDivisionError" in caplog.text


def test_configuring_without_a_provider_breaks_nothing(server, session):
    configure(session)

    assert session.get(server.url).text == "ok"
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_an_argument_that_cannot_be_used_is_refused(session):
    with pytest.raises(ValueError, match="not a host pattern"):
        configure(session, propagate_trace="a b")


def test_an_argument_that_there_is_not_is_refused(session):
    with pytest.raises(TypeError, match="configure has no argument 'exclude_urls'"):
        configure(session, exclude_urls="health")


@pytest.mark.parametrize("hook", [lambda request: True, lambda request: request.headers, lambda request: [request]])
def test_what_a_request_hook_returns_that_is_no_request_is_not_sent(server, session, hook):
    configure(session, pre_request=hook)

    assert session.get(server.url).text == "ok"


def test_a_request_that_a_hook_has_put_in_place_is_the_one_that_is_told_of(telemetry, server, session):
    def elsewhere(request):
        return requests.Request("POST", f"{server.url}/elsewhere").prepare()

    seen = []
    configure(
        session,
        pre_request=elsewhere,
        post_request=lambda request, result: seen.append((request.url, result.status_code)),
        **telemetry.providers,
    )

    session.get(f"{server.url}/here")

    assert telemetry.span.name == "POST"
    assert telemetry.span.attributes["url.full"] == f"{server.url}/elsewhere"
    assert seen == [(f"{server.url}/elsewhere", 200)]
    assert server.header("traceparent")[0].split("-")[2] == f"{telemetry.span.context.span_id:016x}"


def test_a_hook_after_each_send_is_given_an_exception_that_is_no_error(session):
    class Interrupted(BaseAdapter):
        def send(self, request, **kwargs):
            raise KeyboardInterrupt

        def close(self):
            pass

    seen = []
    session.mount("mock://", Interrupted())
    configure(session, post_request=lambda request, result: seen.append(type(result)))

    with pytest.raises(KeyboardInterrupt):
        session.get("mock://host/")

    assert seen == [KeyboardInterrupt]


def test_a_session_set_up_without_a_word_is_told_of_as_all_are_while_all_are(instrument, telemetry, server):
    session = get_session()
    hooked = []
    instrument(request_hook=lambda span, request: hooked.append(request.url))

    session.get(f"{server.url}/during")
    RequestsInstrumentor().uninstrument()
    session.get(f"{server.url}/after")

    assert hooked == [f"{server.url}/during"]
    assert telemetry.span.attributes["url.full"] == f"{server.url}/during"
    assert None not in server.header("X-Request-Id")


def test_a_session_set_up_while_all_are_told_of_carries_ids_afterwards_too(instrument, telemetry, server, session):
    instrument()
    configure(session)

    RequestsInstrumentor().uninstrument()
    session.get(server.url)

    assert telemetry.spans == []
    assert server.header("X-Request-Id") != [None]


def test_a_session_that_is_set_up_while_all_are_uninstrumented_is_told_of(instrument, telemetry, server, monkeypatch):
    session = requests.Session()
    begun, set_up, remove = threading.Event(), threading.Event(), instrumentation._patches.remove

    def set_it_up():
        begun.wait(30)
        configure(session, **telemetry.providers)
        set_up.set()

    def remove_slowly():
        begun.set()
        set_up.wait(0.3)  # for the other thread, should it not wait for this one
        remove()

    monkeypatch.setattr(instrumentation._patches, "remove", remove_slowly)
    instrument()
    thread = threading.Thread(target=set_it_up)
    thread.start()
    RequestsInstrumentor().uninstrument()
    thread.join(30)
    monkeypatch.undo()
    session.get(server.url)

    assert len(telemetry.spans) == 1


def test_a_session_that_is_set_up_while_all_come_to_be_told_of_is_one_of_them(
    instrument, telemetry, server, session, monkeypatch
):
    begun, told_of, find = threading.Event(), threading.Event(), instrumentation.default_telemetry

    def find_slowly():
        found = find()
        begun.set()
        told_of.wait(0.3)  # for the other thread, should it not wait for this one
        return found

    monkeypatch.setattr(instrumentation, "default_telemetry", find_slowly)
    thread = threading.Thread(target=configure, args=(session,))
    thread.start()
    begun.wait(30)
    instrument()
    told_of.set()
    thread.join(30)
    session.get(server.url)

    assert len(telemetry.spans) == 1


def test_sessions_set_up_without_a_word_share_what_they_are_told_to(telemetry, server, monkeypatch):
    made = []
    monkeypatch.setattr(
        "hopline.requests._instrumentation.ClientTelemetry", lambda *args: made.append(args) or ClientTelemetry(*args)
    )
    monkeypatch.setattr(instrumentation, "_default", None)  # which sessions of other tests may still hold

    sessions = [in_a_thread(get_session) for _ in range(3)]

    assert len(made) == 1
    assert len(sessions) == 3


def test_sessions_that_threads_set_up_at_once_share_what_they_are_told_to(monkeypatch):
    made, begun, over = [], threading.Event(), threading.Event()

    def make_slowly(*arguments):
        made.append(arguments)
        begun.set()
        if len(made) == 1:
            over.wait(0.5)  # for the other thread, should it not wait for this one
        return ClientTelemetry(*arguments)

    monkeypatch.setattr("hopline.requests._instrumentation.ClientTelemetry", make_slowly)
    monkeypatch.setattr(instrumentation, "_default", None)  # which sessions of other tests may still hold
    sessions = []

    first = threading.Thread(target=lambda: sessions.append(get_session()))
    first.start()
    begun.wait()
    sessions.append(in_a_thread(get_session))
    over.set()
    first.join()

    assert len(made) == 1
    assert len(sessions) == 2


STATSD = """
import sys
import hopline, requests
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from hopline.requests import RequestsInstrumentor, configure, get_session
from hopline_statsd import StatsdConfig, StatsdSpanProcessor
processor = StatsdSpanProcessor(StatsdConfig(endpoint="{endpoint}", prefix="my.prefix"))
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(processor)
hopline.Context.new("abc")
{instrument}
hopline.register_host_name("127.0.0.1:{port}", "billing")
{session}.get("{url}")
processor.force_flush()
"""


@pytest.mark.parametrize("instrument", ["", "RequestsInstrumentor().instrument()"], ids=["alone", "with all"])
@pytest.mark.parametrize("session", ["get_session()", "configure(requests.Session())"])
def test_a_session_is_one_statsd_timer_and_one_id_with_and_without_global_instrumentation(
    server, run_python, instrument, session
):
    with StatsdListener() as statsd:
        run_python(
            STATSD.format(
                endpoint=statsd.endpoint, instrument=instrument, session=session, url=server.url, port=server.port
            )
        )

        assert statsd.wait_for(2)
        assert [line.split(":")[0] for line in statsd.lines] == [
            "my.prefix.requests.billing.GET.200",
            "my.prefix.requests.billing.connections",
        ]
    assert re.fullmatch("[0-9a-f]{16}-abc", server.header("X-Request-Id")[0])


def test_the_sessions_of_a_greenlet_that_has_ended_are_closed(server, run_python):
    output = run_python(
        f"""
        import gc
        from gevent import monkey
        monkey.patch_all()
        import gevent, requests
        from hopline.requests import get_session

        closed = []

        class Own(requests.Session):
            def close(self):
                closed.append(self)
                super().close()

        def job():
            get_session(Own).get("{server.url}")
            gevent.sleep(0)
            return get_session(Own) is get_session(Own)

        greenlets = [gevent.spawn(job) for _ in range(3)]
        print([greenlet.get() for greenlet in greenlets])
        del greenlets[:]
        gevent.sleep(0)
        gc.collect()
        print(len(closed))
        """
    )

    assert output == "[True, True, True]\n3\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_use_the_connections_of_its_parent(server, run_python):
    output = run_python(
        f"""
        import os
        from hopline.requests import get_session

        get_session().get("{server.url}")
        child = os.fork()
        if child == 0:
            get_session().get("{server.url}")
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        get_session().get("{server.url}")
        """
    )

    assert output == "0\n"
    parent, child, again = (request.peer for request in server.received)
    assert parent == again != child


def test_threads_that_come_first_both_keep_their_session(monkeypatch):
    together, real = threading.Barrier(2), threading.local
    kept = []

    def local():
        together.wait(10)
        return real()

    def first():
        session = get_session()
        together.wait(10)
        kept.append(get_session() is session)

    _sessions._local.forget()
    monkeypatch.setattr(_sessions.threading, "local", local)
    threads = [threading.Thread(target=first) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert kept == [True, True]


def sign(request):
    request.headers["X-Signature"] = "signed"


class Signing(requests.Session):
    """A session that says itself how it is told of."""

    def __init__(self):
        super().__init__()
        configure(self, pre_request=sign)


def test_a_class_of_sessions_that_configure_themselves_stays_as_it_is(server):
    get_session(Signing).get(server.url)

    assert server.header("X-Signature") == ["signed"]


def test_a_class_of_sessions_that_are_to_be_left_alone_stays_as_it_is(server):
    class Alone(requests.Session):
        def __init__(self):
            super().__init__()
            RequestsInstrumentor.uninstrument_session(self)

    get_session(Alone).get(server.url)

    assert server.header("X-Request-Id") == [None]
