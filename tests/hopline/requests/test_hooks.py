"""Hooks of the user, and exceptions that are not ours: neither may change what the application gets."""

from __future__ import annotations

import contextlib
import gc
import os
import signal

import gevent
import pytest
import requests
from opentelemetry.trace import StatusCode
from requests.adapters import BaseAdapter

from hopline.http.call import ClientCall
from tests.loopback import Answer


def calls_alive():
    # By its type: a lazy object, such as the settings of Django, would be made by being asked for its class.
    return sum(type(kept) is ClientCall for kept in gc.get_objects())


class Raising(BaseAdapter):
    """An adapter out of which one exception comes."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def send(self, request, **kwargs):
        raise self.error

    def close(self):
        pass


def test_hooks_are_given_the_span_the_request_and_the_response(instrument, telemetry, server):
    instrument(
        request_hook=lambda span, request: span.set_attribute("path", request.path_url),
        response_hook=lambda span, request, response: span.set_attribute("text", response.text),
    )

    requests.get(f"{server.url}/x")

    assert telemetry.span.attributes["path"] == "/x"
    assert telemetry.span.attributes["text"] == "ok"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_response_hook_is_given_every_response_whatever_its_status(instrument, server, status):
    heard = []
    instrument(response_hook=lambda span, request, response: heard.append(response.status_code))

    requests.get(server.answer("/", Answer(status)))

    assert heard == [status]


def test_a_request_hook_may_set_headers(instrument, server):
    instrument(request_hook=lambda span, request: request.headers.update({"X-Request-Id": "mine"}))

    requests.get(server.url)

    assert server.header("X-Request-Id") == ["mine"]


def test_what_a_response_hook_takes_is_not_part_of_the_span(instrument, telemetry, server):
    instrument(response_hook=lambda span, request, response: gevent.sleep(0.3))

    requests.get(server.url)

    assert telemetry.span.end_time - telemetry.span.start_time < 0.3e9


@pytest.mark.parametrize("hook", ["request_hook", "response_hook"])
def test_a_hook_that_raises_is_logged_once_and_changes_nothing(instrument, telemetry, server, caplog, hook):
    def broken(*_):
        raise ZeroDivisionError

    instrument(**{hook: broken})

    responses = [requests.get(server.url) for _ in range(3)]

    assert [response.text for response in responses] == ["ok"] * 3
    assert [span.status.status_code for span in telemetry.spans] == [StatusCode.UNSET] * 3
    (record,) = [record for record in caplog.records if record.name == "hopline"]
    assert record.levelname == "WARNING"
    assert "ZeroDivisionError" in record.getMessage()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit"),
        (gevent.Timeout(1), "gevent.timeout.Timeout"),
    ],
)
def test_an_exception_that_is_no_error_ends_the_span_and_goes_on_unchanged(instrument, telemetry, session, error, name):
    instrument()
    session.mount("mock://", Raising(error))

    with pytest.raises(type(error)) as raised:
        session.get("mock://host/")

    assert raised.value is error
    assert telemetry.span.attributes["error.type"] == name
    assert telemetry.point("http.client.request.duration").attributes["error.type"] == name


def test_a_time_out_is_an_error(instrument, telemetry, server):
    instrument()
    url = server.answer("/", Answer(before=lambda: gevent.sleep(0.3)))

    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, timeout=0.05)

    assert telemetry.span.attributes["error.type"] == "requests.exceptions.ReadTimeout"


def test_a_body_that_breaks_off_is_an_error_with_the_status(instrument, telemetry, server):
    instrument()
    url = server.answer("/", Answer(chunks=[b"short"], cut=True))

    with pytest.raises(requests.exceptions.RequestException):
        requests.get(url)

    assert telemetry.span.attributes["http.response.status_code"] == 200
    assert telemetry.span.status.status_code is StatusCode.ERROR


def test_an_error_that_a_response_hook_of_requests_raises_has_the_status_of_its_response(
    instrument, telemetry, server, session
):
    instrument()
    session.hooks["response"].append(lambda response, **_: response.raise_for_status())

    with pytest.raises(requests.exceptions.HTTPError):
        session.get(server.answer("/", Answer(500)))

    assert telemetry.span.attributes["http.response.status_code"] == 500
    assert telemetry.span.attributes["error.type"] == "requests.exceptions.HTTPError"


class Foreign(Exception):
    """An error with something that is no response to what was sent, as botocore's have."""

    def __init__(self):
        super().__init__()
        self.response = {"Error": {"Code": "ExpiredToken"}}


def test_an_error_that_comes_with_a_response_to_something_else_ends_the_span(instrument, telemetry, server):
    def chunks():
        yield b"first"
        raise Foreign

    instrument()

    with pytest.raises(Foreign):
        requests.put(server.url, data=chunks())

    assert telemetry.span.attributes["error.type"].endswith("Foreign")
    assert all(point.value == 0 for point in telemetry.points("http.client.active_requests"))


class Mute(Exception):
    """An error that cannot say what it is, as aiohttp's without a request."""

    def __str__(self):
        raise AttributeError("there is no request")


def test_an_error_whose_message_cannot_be_had_ends_the_span_by_its_name(instrument, telemetry, session):
    instrument()
    session.mount("mute://", Raising(Mute()))

    with pytest.raises(Mute):
        session.get("mute://host/")

    assert telemetry.span.status.description == "Mute"


def test_a_call_leaves_nothing_for_the_garbage_collector(instrument, server, session):
    instrument()
    session.get(server.url)
    before = calls_alive()
    gc.disable()
    try:
        session.get(server.redirect("/a", "/b"))
        after = calls_alive()
    finally:
        gc.enable()

    assert after == before


def test_a_call_that_fails_leaves_nothing_for_the_garbage_collector(instrument, session):
    instrument()
    before = calls_alive()
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            session.get("https://127.0.0.1/", verify="/no/such/bundle")  # what urllib3 raises keeps its own frames
        after = calls_alive()
    finally:
        gc.enable()

    assert after == before


def test_nothing_of_the_call_stays_current(instrument, telemetry, server):
    from opentelemetry import context

    instrument()
    before = context.get_current()

    requests.get(server.url)

    assert context.get_current() == before


@pytest.mark.parametrize("hook", ["request_hook", "response_hook"])
def test_an_exception_that_is_no_error_out_of_a_hook_ends_the_span_and_goes_on(instrument, telemetry, server, hook):
    def interrupted(*_):
        raise gevent.Timeout

    instrument(**{hook: interrupted})

    with pytest.raises(gevent.Timeout):
        requests.get(server.url)

    assert telemetry.span.attributes["error.type"] == "gevent.timeout.Timeout"
    assert all(point.value == 0 for point in telemetry.points("http.client.active_requests"))


GREENLET = """
from gevent import monkey
monkey.patch_all()
import gevent, requests
from hopline.requests import RequestsInstrumentor
from tests.telemetry import Telemetry
telemetry = Telemetry()
RequestsInstrumentor().instrument(**telemetry.providers)

def timed_out(function):
    timeout = gevent.Timeout.start_new(0.3)
    try:
        function()
    except gevent.Timeout as raised:
        print(raised is timeout)
    finally:
        timeout.close()

timed_out(lambda: requests.get("{waiting}"))
print(telemetry.span.attributes["error.type"], telemetry.span.status.status_code.name)
print(telemetry.point("http.client.request.duration").attributes["error.type"])
response = requests.get("{stalling}", stream=True)
timed_out(lambda: response.content)
print(telemetry.point("hopline.http.client.body.size").attributes["hopline.outcome"])
"""


def test_a_time_out_of_a_greenlet_ends_what_it_strikes(server, run_python, stalling):
    waiting = server.answer("/waiting", Answer(before=stalling.wait))

    output = run_python(GREENLET.format(waiting=waiting, stalling=server.answer("/", Answer(chunks=stalling))))

    assert output.splitlines() == [
        "True",
        "gevent.timeout.Timeout ERROR",
        "gevent.timeout.Timeout",
        "True",
        "gevent.timeout.Timeout",
    ]


INTERRUPTED = """
import os, requests, signal
from hopline.requests import RequestsInstrumentor
from tests.telemetry import Telemetry
telemetry = Telemetry()
RequestsInstrumentor().instrument(**telemetry.providers)
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
try:
    requests.get("{url}", headers={{"X-Process": str(os.getpid())}})
except KeyboardInterrupt:
    print(telemetry.span.attributes["error.type"])
"""


def test_ctrl_c_ends_the_span_of_a_request_that_waits(server, run_python, stalling):
    def interrupt():
        os.kill(int(server.received[0].headers["X-Process"]), signal.SIGINT)
        stalling.wait()

    url = server.answer("/", Answer(before=interrupt))

    assert run_python(INTERRUPTED.format(url=url)) == "KeyboardInterrupt\n"
