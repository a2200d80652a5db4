"""aiohttp's server under `opentelemetry-instrument`: nothing in the application, one span and one id each."""

from __future__ import annotations

import pytest
from websockets.sync.client import connect

from tests.collector import Collector
from tests.hopline.wsgi.test_servers import PARENT_ID, TRACE_ID, get, ids_logged_of_an_exception, status_of
from tests.programs import Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes

SITE = "tests.sites.aiohttp_site"
SERVERS = {
    "aiohttp": ["-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", f"{SITE}:make"],
    "gunicorn": ["-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "aiohttp.GunicornWebWorker", f"{SITE}:factory"],
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_serves_each_request_and_connection_in_a_span_and_a_context_of_its_own(server):
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]

    with (
        Collector() as collector,
        Program(instrumented(*command), environment(collector.endpoint), port) as program,
    ):
        answers = [get(port, path) for path in ("/?a=1", "/stream")]
        failed = status_of(port, "/boom")
        with connect(f"ws://127.0.0.1:{port}/chat", additional_headers={"X-Request-Id": "abc"}) as chat:
            chat.send("hello")
            said_back = chat.recv(timeout=30)
        spans = collector.wait_for(4)
        said = program.output

    assert answers == [(200, "abc\n", "abc"), (200, "abc\n" * 3, "abc")]
    assert (failed, said_back) == (500, "hello abc")
    assert {(span.kind, span.scope, span["hopline.request_id"]) for span in spans} == {
        ("SERVER", "hopline.aiohttp_server", "abc")
    }
    assert {(span.trace_id, span.parent_id) for span in spans if span["url.path"] != "/chat"} == {(TRACE_ID, PARENT_ID)}
    assert sorted((span["http.route"], span["http.response.status_code"], span["error.type"]) for span in spans) == [
        ("/", 200, None),
        ("/boom", 500, "RuntimeError"),
        ("/chat", 101, None),
        ("/stream", 200, None),
    ]
    assert "hopline:" not in said


def test_what_it_logs_of_an_exception_has_the_requests_id():
    assert ids_logged_of_an_exception(SERVERS["aiohttp"], "aiohttp.server") == {"abc"}
