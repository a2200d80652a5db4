"""Patches come and go without a trace: under others' patches, on sessions that live, as often as one likes."""

from __future__ import annotations

import gc
import weakref

import pytest
import requests
import urllib3
import wrapt
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util.retry import Retry

from hopline.requests import RequestsInstrumentor, configure, uninstrument_session
from tests.hopline.requests.test_attempts import CHALLENGE, sent_span_ids, span_ids, statuses
from tests.loopback import Answer

PATCHED = [
    (requests.Session, "send"),
    (requests.sessions.SessionRedirectMixin, "rebuild_method"),
    (requests.sessions.SessionRedirectMixin, "rebuild_auth"),
    (requests.adapters.HTTPAdapter, "send"),
    (urllib3.connectionpool.HTTPConnectionPool, "urlopen"),
    (urllib3.connection.HTTPConnection, "close"),
    (urllib3.response.HTTPResponse, "_handle_chunk"),
]
PATCHED_FOR_STREAMS = [(urllib3.response.HTTPResponse, name) for name in ("_fp_read", "release_conn", "close")]


def found(places):
    return [vars(owner).get(name) for owner, name in places]


def are_patched(places):
    return {isinstance(each, wrapt.FunctionWrapper) for each in found(places)}


def test_uninstrumenting_puts_everything_back(instrument):
    before = found(PATCHED)
    instrument()
    assert are_patched(PATCHED) == {True}

    RequestsInstrumentor().uninstrument()

    assert found(PATCHED) == before


def test_what_only_streams_need_is_patched_once_something_is_streamed(instrument, server, session):
    instrument()
    session.get(server.url)
    assert are_patched(PATCHED_FOR_STREAMS) == {False}

    session.get(server.answer("/body", Answer(body=b"body")), stream=True).close()

    assert are_patched(PATCHED_FOR_STREAMS) == {True}


def test_uninstrumenting_puts_back_what_streams_needed(instrument, server, session):
    before = found(PATCHED_FOR_STREAMS)
    instrument()
    session.get(server.answer("/body", Answer(body=b"body")), stream=True).close()

    RequestsInstrumentor().uninstrument()

    assert found(PATCHED_FOR_STREAMS) == before


def test_what_is_streamed_when_instrumented_once_more_is_told_of(instrument, telemetry, server, session):
    url = server.answer("/body", Answer(body=b"body"))
    instrument()
    session.get(url, stream=True).close()
    RequestsInstrumentor().uninstrument()
    instrument()

    assert session.get(url, stream=True).content == b"body"

    sizes = {
        point.attributes["hopline.outcome"]: point.sum for point in telemetry.points("hopline.http.client.body.size")
    }
    assert sizes["consumed"] == 4


def test_a_session_made_before_is_told_of_and_one_that_lives_on_is_not_any_more(instrument, telemetry, server, session):
    instrument()
    session.get(f"{server.url}/during")

    RequestsInstrumentor().uninstrument()
    session.get(f"{server.url}/after")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/during"]
    assert server.header("traceparent")[1] is None


def test_uninstrumenting_works_under_a_later_patch(instrument, telemetry, server, monkeypatch):
    instrument()
    ours = requests.Session.send

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    monkeypatch.setattr(requests.Session, "send", theirs)

    RequestsInstrumentor().uninstrument()
    requests.get(server.url)

    assert telemetry.spans == []
    assert server.header("traceparent") == [None]


def test_uninstrumenting_ends_what_is_observed(instrument, telemetry, server, session):
    instrument()
    session.get(server.url)
    assert telemetry.points("http.client.open_connections") != []

    RequestsInstrumentor().uninstrument()

    assert telemetry.points("http.client.open_connections") == []


def test_instrumenting_again_under_a_later_patch_is_one_layer(instrument, telemetry, server, monkeypatch):
    instrument()
    monkeypatch.setattr(
        requests.Session, "send", wrapt.FunctionWrapper(requests.Session.send, lambda send, _, a, k: send(*a, **k))
    )
    RequestsInstrumentor().uninstrument()

    instrument()
    requests.get(server.url)

    assert len(telemetry.spans) == 1


def test_instrumenting_twice_is_one_layer(instrument, telemetry, server):
    instrument()
    instrument()

    requests.get(server.url)

    assert len(telemetry.spans) == 1


@pytest.mark.parametrize("leave_alone", [uninstrument_session, RequestsInstrumentor.uninstrument_session])
def test_one_session_can_be_left_alone(instrument, telemetry, server, session, leave_alone):
    instrument()
    leave_alone(session)

    session.get(f"{server.url}/alone")
    requests.get(f"{server.url}/other")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/other"]
    assert server.header("traceparent")[0] is None


def test_a_session_that_was_left_alone_can_be_told_of_again(telemetry, server, session):
    configure(session, **telemetry.providers)
    uninstrument_session(session)
    session.get(f"{server.url}/alone")

    configure(session, **telemetry.providers).get(f"{server.url}/again")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/again"]


def test_a_subclass_that_sends_in_its_own_way_is_told_of_once(instrument, telemetry, server):
    class Own(requests.Session):
        def send(self, request, **kwargs):
            request.headers["X-Own"] = "1"
            return super().send(request, **kwargs)

    instrument()

    with Own() as session:
        session.get(server.url)

    assert len(telemetry.spans) == 1
    assert server.header("X-Own") == ["1"]


def test_one_session_can_be_configured_where_requests_is_not_instrumented(telemetry, server, session):
    configure(session, **telemetry.providers)

    session.get(f"{server.url}/own")
    requests.get(f"{server.url}/other")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/own"]
    assert server.header("X-Request-Id")[0] is not None
    assert server.header("X-Request-Id")[1] is None


def test_a_configured_session_is_told_of_once_where_all_are(instrument, telemetry, server, session):
    instrument()
    configure(session)

    session.get(server.url)

    assert len(telemetry.spans) == 1


def test_a_configured_session_is_told_of_in_its_own_way_where_all_are(instrument, telemetry, server, session):
    instrument(response_hook=lambda span, *_: span.set_attribute("told", "as all"))
    configure(
        session, **telemetry.providers, response_hook=lambda span, *_: span.set_attribute("told", "in its own way")
    )

    session.get(server.url)

    assert telemetry.span.attributes["told"] == "in its own way"


def test_a_configured_session_is_still_told_of_after_uninstrumenting(instrument, telemetry, server, session):
    instrument()
    configure(session, **telemetry.providers)

    RequestsInstrumentor().uninstrument()
    session.get(f"{server.url}/own")
    requests.get(f"{server.url}/other")

    assert [span.attributes["url.full"] for span in telemetry.spans] == [f"{server.url}/own"]


def test_a_session_that_is_dropped_is_not_kept(telemetry):
    session = configure(requests.Session(), **telemetry.providers)
    dropped = weakref.ref(session)

    del session
    gc.collect()

    assert dropped() is None


def test_with_the_urllib3_instrumentor_active_too_there_is_one_span(instrument, telemetry, server):
    instrument()
    URLLib3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        requests.get(server.url)
    finally:
        URLLib3Instrumentor().uninstrument()

    assert len(telemetry.spans) == 1


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_with_the_urllib3_instrumentor_active_too_each_request_on_the_wire_is_one_span_and_carries_it(
    instrument, telemetry, server, session, first
):
    theirs = {"tracer_provider": telemetry.tracer_provider}
    server.answer("/b", Answer(503), Answer(401, CHALLENGE), Answer(200))
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, backoff_factor=0, status_forcelist=[503])))
    if first == "ours":
        instrument()
        URLLib3Instrumentor().instrument(**theirs)
    else:
        URLLib3Instrumentor().instrument(**theirs)
        instrument()
    try:
        session.get(server.redirect("/a", "/b"), auth=HTTPDigestAuth("me", "secret"))
    finally:
        # Each takes away the topmost layer, whose it may be.
        last, before = RequestsInstrumentor(), URLLib3Instrumentor()
        for instrumentor in (before, last) if first == "ours" else (last, before):
            instrumentor.uninstrument()

    assert statuses(telemetry) == [302, 503, 401, 200]
    assert sent_span_ids(server) == span_ids(telemetry)


def test_a_configured_session_is_one_span_with_the_urllib3_instrumentor_active_too(telemetry, server, session):
    configure(session, **telemetry.providers)
    URLLib3Instrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    try:
        session.get(server.url)
    finally:
        URLLib3Instrumentor().uninstrument()

    assert [span.instrumentation_scope.name for span in telemetry.spans] == ["hopline.requests"]


def test_uninstrumenting_while_a_call_lasts_breaks_nothing(instrument, telemetry, server, session):
    instrument()
    session.hooks["response"] = [lambda response, **_: RequestsInstrumentor().uninstrument()]

    response = session.get(server.redirect("/a", "/b"))

    assert response.text == "ok"
    assert all(span.end_time is not None for span in telemetry.spans)


def test_instrumenting_while_a_call_lasts_breaks_nothing(instrument, telemetry, server, session):
    session.hooks["response"] = [lambda response, **_: None if response.history else instrument()]

    response = session.get(server.redirect("/a", "/b"))

    assert response.text == "ok"
    assert statuses(telemetry) == [200]


def test_urllib3_on_its_own_is_not_touched(instrument, telemetry, server):
    instrument()

    with urllib3.PoolManager() as pool:
        response = pool.request("GET", server.url)

    assert response.data == b"ok"
    assert telemetry.spans == []
    assert server.header("traceparent") == [None]


def test_a_missing_library_is_said_and_not_instrumented(monkeypatch, caplog):
    monkeypatch.setattr(RequestsInstrumentor, "instrumentation_dependencies", lambda self: ("no-such-library",))

    RequestsInstrumentor().instrument()

    assert not RequestsInstrumentor().is_instrumented_by_opentelemetry
    assert "no-such-library" in caplog.text


def test_instrumenting_imports_neither_requests_nor_ssl(run_python):
    output = run_python(
        """
        import sys
        import wrapt  # which imports asyncio, and that ssl, from version 2.2 on
        sys.modules.pop("ssl", None)
        import hopline, hopline.requests, hopline.distro
        hopline.requests.RequestsInstrumentor().instrument(skip_dep_check=True)
        print([name for name in ("requests", "urllib3", "ssl", "aiohttp", "celery", "gevent") if name in sys.modules])
        """
    )

    assert output == "[]\n"


def test_requests_is_patched_when_it_is_imported_later(run_python):
    output = run_python(
        """
        from hopline.requests import RequestsInstrumentor
        RequestsInstrumentor().instrument()
        import requests, wrapt
        print(isinstance(vars(requests.Session)["send"], wrapt.FunctionWrapper))
        """
    )

    assert output == "True\n"


def test_requests_is_not_patched_when_it_is_imported_after_uninstrumenting(run_python):
    output = run_python(
        """
        from hopline.requests import RequestsInstrumentor
        RequestsInstrumentor().instrument()
        RequestsInstrumentor().uninstrument()
        import requests, wrapt
        print(isinstance(vars(requests.Session)["send"], wrapt.FunctionWrapper))
        """
    )

    assert output == "False\n"
