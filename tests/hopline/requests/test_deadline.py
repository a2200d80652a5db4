"""The deadline of the request that is being served bounds the requests that it makes."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import Timeout
from urllib3.util.retry import Retry

from hopline import Context, DeadlineExceeded
from hopline.requests import RequestsInstrumentor
from tests.loopback import Answer

LONG_MS = 60_000
SHORT_MS = 100


class Asked(BaseAdapter):
    """An adapter that keeps the time-outs that it is asked to heed."""

    def __init__(self):
        super().__init__()
        self.timeouts = []

    def send(self, request, timeout=None, **kwargs):
        self.timeouts.append(timeout)
        response = requests.Response()
        response.status_code, response._content = 200, b""
        response.request, response.url = request, request.url
        return response

    def close(self):
        pass


@pytest.fixture
def asked(session):
    session.mount("mock://", Asked())
    return session.get_adapter("mock://").timeouts


@pytest.mark.parametrize("kind", [requests.exceptions.Timeout, asyncio.TimeoutError, TimeoutError, DeadlineExceeded])
def test_a_passed_deadline_is_a_timeout_before_anything_is_sent(instrument, telemetry, server, session, kind):
    instrument()
    Context.set_relative_deadline(-1)

    with pytest.raises(kind):
        session.get(server.url)

    assert (server.received, telemetry.spans) == ([], [])


@pytest.mark.parametrize(
    "timeout", [None, 600, 600.0, (600, 600), (None, 600), Timeout(600), Timeout(read=600)], ids=repr
)
def test_what_is_left_bounds_a_timeout(instrument, server, session, timeout):
    release = threading.Event()
    url = server.answer("/held", Answer(before=lambda: release.wait(30)))
    instrument()
    Context.set_relative_deadline(SHORT_MS)

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(url, timeout=timeout)

    release.set()


def test_a_shorter_timeout_stays_as_it_is(instrument, session, asked):
    instrument()
    Context.set_relative_deadline(LONG_MS)

    session.get("mock://host/", timeout=5)
    session.get("mock://host/", timeout=(1, 2))

    assert asked == [5, (1, 2)]


def test_a_timeout_that_makes_no_sense_is_for_requests_to_refuse(instrument, server, session):
    instrument()
    Context.set_relative_deadline(LONG_MS)

    with pytest.raises(ValueError, match=r"[Tt]imeout"):
        session.get(server.url, timeout="soon")


def test_without_a_deadline_a_timeout_is_not_touched(instrument, session, asked):
    instrument()

    session.get("mock://host/")
    session.get("mock://host/", timeout=5)

    assert asked == [None, 5]


def test_each_redirect_hop_has_what_is_left_by_then(instrument, telemetry, server, session):
    instrument()
    Context.set_relative_deadline(SHORT_MS)
    passed = threading.Event()
    threading.Timer(2 * SHORT_MS / 1000, passed.set).start()
    redirect = Answer(302, {"Location": "/b"}, b"", before=lambda: None)
    url = server.answer("/a", redirect)
    session.hooks["response"].append(lambda response, **_: passed.wait(10) and None)

    with pytest.raises(DeadlineExceeded):
        session.get(url)

    assert [request.path for request in server.received] == ["/a"]
    assert telemetry.spans[0].attributes["error.type"] == "hopline.deadline.DeadlineExceeded"


def test_the_deadline_goes_along_in_a_header(instrument, server, session):
    instrument()
    Context.set_absolute_deadline(datetime.fromisoformat("2099-01-31T12:00:00.250+00:00"))

    session.get(server.url)

    assert server.header("X-Request-Deadline") == ["2099-01-31T12:00:00.250Z"]


def test_a_host_may_be_denied_the_deadline(instrument, server, session):
    instrument(propagate_deadline="!127.*")
    Context.set_relative_deadline(LONG_MS)

    session.get(server.url)

    assert server.header("X-Request-Deadline") == [None]


def test_a_session_that_is_left_alone_knows_no_deadline(instrument, server, session):
    instrument()
    RequestsInstrumentor.uninstrument_session(session)
    Context.set_relative_deadline(-1)

    assert session.get(server.url).text == "ok"


class WithItsOwn(HTTPAdapter):
    """An adapter that has a time-out where nobody asks for one, as applications write them; it keeps what it asks."""

    def __init__(self, own):
        super().__init__()
        self._own = own
        self.asked = []

    def send(self, request, stream=False, timeout=None, *others, **more):
        self.asked.append(timeout)
        return super().send(request, stream, self._own if timeout is None else timeout, *others, **more)


@pytest.fixture
def withheld():
    """An answer that does not come before the test is over."""
    release = threading.Event()
    yield Answer(before=lambda: release.wait(30))
    release.set()


@pytest.fixture
def held(server, withheld):
    return server.answer("/held", withheld)


def test_the_time_out_of_an_adapter_stays_where_it_is_the_shorter_one(instrument, session, held):
    adapter = WithItsOwn(0.05)
    session.mount("http://", adapter)
    instrument()
    Context.set_relative_deadline(LONG_MS)

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(held)

    assert adapter.asked == [None]


def test_what_is_left_bounds_the_time_out_of_an_adapter(instrument, session, held):
    session.mount("http://", WithItsOwn(600))
    instrument()
    Context.set_relative_deadline(SHORT_MS)

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(held)


def test_what_is_left_bounds_the_time_out_of_what_is_excluded(instrument, session, held):
    instrument(excluded_urls="held")
    Context.set_relative_deadline(SHORT_MS)

    with pytest.raises(requests.exceptions.ReadTimeout):
        session.get(held)


def test_a_url_without_an_adapter_is_for_requests_to_refuse(instrument, session):
    instrument()
    Context.set_relative_deadline(LONG_MS)

    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("gopher://host/")


def retrying(session, **retry):
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503], **retry)))
    return session


def test_a_retry_whose_deadline_has_passed_is_not_sent(instrument, telemetry, server, session):
    class Late(Retry):
        def sleep(self, response=None):
            Context.set_relative_deadline(-1)

    instrument()
    Context.set_relative_deadline(LONG_MS)
    session.mount("http://", HTTPAdapter(max_retries=Late(3, status_forcelist=[503])))

    with pytest.raises(DeadlineExceeded):
        session.get(server.answer("/", Answer(503)))

    assert len(server.received) == 1
    assert telemetry.span.attributes["error.type"] == "hopline.deadline.DeadlineExceeded"


def test_a_retry_waits_for_what_is_left_by_then(instrument, server, session, withheld):
    url = server.answer("/", Answer(503), withheld)
    instrument()
    Context.set_relative_deadline(SHORT_MS)

    with pytest.raises(DeadlineExceeded):
        retrying(session, backoff_factor=0).get(url)

    assert len(server.received) == 2


def test_nobody_waits_for_a_retry_that_would_come_after_the_deadline(instrument, telemetry, server, session):
    url = server.answer("/", Answer(503, {"Retry-After": "3600"}))
    instrument()
    Context.set_relative_deadline(LONG_MS)

    with pytest.raises(DeadlineExceeded):
        retrying(session).get(url)

    assert len(server.received) == 1
    assert telemetry.span.attributes["http.response.status_code"] == 503
