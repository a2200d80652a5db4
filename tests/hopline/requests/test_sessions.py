"""Sessions of each thread, and sessions that are configured one by one."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import requests
from opentelemetry import trace

import hopline
from hopline import Context
from hopline.requests import clear, configure, get_session


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
