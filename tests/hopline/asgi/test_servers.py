"""Each ASGI server under `opentelemetry-instrument`: nothing in the application, one span and one id each."""

from __future__ import annotations

import importlib.util

import pytest
from websockets.sync.client import connect

from tests.collector import Collector
from tests.hopline.wsgi.test_servers import PARENT_ID, TRACE_ID, get, ids_logged_of_an_exception, status_of
from tests.programs import Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--port={port}", "tests.sites.asgi_site:app"],
    "hypercorn": ["-m", "hypercorn", "-w", "0", "-b", "127.0.0.1:{port}", "tests.sites.asgi_site:app"],
    "gunicorn": ["-m", "gunicorn", "-b", "127.0.0.1:{port}", "-k", "asgi", "tests.sites.asgi_site:app"],
}
HAS_ASGI_WORKER = importlib.util.find_spec("gunicorn.workers.gasgi") is not None


def check_each_is_served_in_a_span_and_a_context_of_its_own(server, scope, line):
    """Have a server serve two requests, one that fails and a WebSocket connection, of a site that says each `line`."""
    port = free_port()
    command = [part.format(port=port) for part in server]

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

    assert answers == [(200, line, "abc"), (200, line * 3, "abc")]
    assert (failed, said_back) == (500, "hello abc")
    assert {(span.kind, span.scope, span["hopline.request_id"]) for span in spans} == {("SERVER", scope, "abc")}
    assert {(span.trace_id, span.parent_id) for span in spans if span["url.path"] != "/chat"} == {(TRACE_ID, PARENT_ID)}
    assert sorted((span["url.path"], span["http.response.status_code"], span["error.type"]) for span in spans) == [
        ("/", 200, None),
        ("/boom", 500, "RuntimeError"),
        ("/chat", 101, None),
        ("/stream", 200, None),
    ]
    assert "hopline:" not in said


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_serves_each_request_and_connection_in_a_span_and_a_context_of_its_own(server):
    if server == "gunicorn" and not HAS_ASGI_WORKER:
        pytest.skip("this gunicorn has no ASGI worker")

    check_each_is_served_in_a_span_and_a_context_of_its_own(SERVERS[server], "hopline.asgi", "abc abc\n")


def test_uvicorn_sends_what_is_held_back_before_it_ends_by_a_signal():
    port = free_port()
    command = instrumented(*(part.format(port=port) for part in SERVERS["uvicorn"]))

    with Collector() as collector:
        settings = environment(collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_METRICS_EXPORTER="otlp")
        with Program(command, settings, port):
            get(port, "/")
        (span,) = collector.wait_for(1)
        collector.wait_for_metric("hopline.asgi", "http.server.request.duration", 1)

    assert span["url.path"] == "/"


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_what_a_server_logs_of_an_exception_has_the_id_of_the_request(server):
    assert ids_logged_of_an_exception(SERVERS[server], f"{server}.error") == {"abc"}


def test_a_server_is_patched_only_where_it_is_imported_and_unpatched_again(run_python):
    said = run_python(
        """
        import sys
        from hopline.asgi import AsgiInstrumentor, RequestContextMiddleware
        AsgiInstrumentor().instrument()
        print([name for name in ("uvicorn", "hypercorn", "gunicorn", "starlette", "fastapi") if name in sys.modules])
        from uvicorn import Config
        async def app(scope, receive, send):
            pass
        def served():
            config = Config(app)
            config.load()
            while config.loaded_app is not app:
                if isinstance(config.loaded_app, RequestContextMiddleware):
                    return True
                config.loaded_app = config.loaded_app.app
            return False
        first = served()
        AsgiInstrumentor().uninstrument()
        print(first, served())
        """
    )

    assert said.split("\n")[:2] == ["[]", "True False"]
