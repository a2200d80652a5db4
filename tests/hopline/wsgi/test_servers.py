"""Each server under `opentelemetry-instrument`: nothing in the application, one span and one id for each request."""

from __future__ import annotations

import http.client
import io
import socket
import sys
from contextlib import closing
from wsgiref.handlers import SimpleHandler

import pytest

from hopline.wsgi import RequestContextMiddleware, WsgiInstrumentor
from tests.collector import Collector
from tests.gateway import hello
from tests.programs import Program, environment, instrumented, run
from tests.servers import free_port, wait_until
from tests.sites import log_lines
from tests.wsgi_servers import gunicorn, hypercorn, script, waitress

pytestmark = pytest.mark.processes

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"X-Request-Id": "abc", "traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}

SITE = "wsgi_site"
SERVERS = {
    "wsgiref": script("wsgiref", SITE),
    "werkzeug": script("werkzeug", SITE),
    "waitress": waitress(SITE),
    "gevent": script("gevent", SITE, "from gevent import monkey; monkey.patch_all(); "),
    "gunicorn sync": gunicorn(SITE, "-w", "2"),
    "gunicorn preload": gunicorn(SITE, "--preload"),
    "gunicorn gthread": gunicorn(SITE, "-k", "gthread"),
    "gunicorn gevent": gunicorn(SITE, "-k", "gevent"),
    "hypercorn": hypercorn(SITE),
    "paste": script("paste", SITE),
}


def get(port, path):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers.get("X-Request-Id")


def status_of(port, path):
    """The status alone: not every server completes the response that an application has failed to give."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers=HEADERS)
        return connection.getresponse().status


def ids_logged_of_an_exception(command, logger):
    """The request ids on what a server logs of a request that fails."""
    port = free_port()
    settings = environment("http://127.0.0.1:1", OTEL_TRACES_EXPORTER="none", SITE_LOGS="1")

    with Program(instrumented(*(part.format(port=port) for part in command)), settings, port) as program:
        get(port, "/")  # by then it has said all that it says when it starts
        said_before = len(program.output)
        status_of(port, "/boom")
        wait_until(lambda: "RuntimeError: boom" in program.output, "the server logs the exception")
        return set(log_lines.ids_of(logger, program.output[said_before:]))


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_serves_each_request_in_a_span_and_a_context_of_its_own(server):
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]

    with (
        Collector() as collector,
        Program(instrumented(*command), environment(collector.endpoint), port) as program,
    ):
        answers = [get(port, path) for path in ("/?a=1", "/stream", "/file")]
        failed = status_of(port, "/boom")
        spans = collector.wait_for(4)
        said = program.output

    assert answers == [(200, "abc abc", "abc"), (200, "abc\n" * 3, "abc"), (200, "a file\n" * 10_000, "abc")]
    assert failed == 500
    assert {(span.kind, span.scope, span.trace_id, span.parent_id) for span in spans} == {
        ("SERVER", "hopline.wsgi", TRACE_ID, PARENT_ID)
    }
    assert sorted((span["url.path"], span["http.response.status_code"], span["error.type"]) for span in spans) == [
        ("/", 200, None),
        ("/boom", 500, "RuntimeError"),
        ("/file", 200, None),
        ("/stream", 200, None),
    ]
    assert {(span["hopline.request_id"], span["client.address"]) for span in spans} == {("abc", "127.0.0.1")}
    assert "hopline:" not in said


def test_tornado_serves_each_request_in_a_span_and_a_context_of_its_own():
    port = free_port()
    command = [part.format(port=port) for part in script("tornado", SITE)]

    with Collector() as collector, Program(instrumented(*command), environment(collector.endpoint), port):
        answers = [get(port, path) for path in ("/?a=1", "/stream")]  # what raises, it never answers
        spans = collector.wait_for(2)

    assert answers == [(200, "abc abc", "abc"), (200, "abc\n" * 3, "abc")]
    assert [(span.scope, span.trace_id, span["url.path"]) for span in spans] == [
        ("hopline.wsgi", TRACE_ID, "/"),
        ("hopline.wsgi", TRACE_ID, "/stream"),
    ]


@pytest.mark.parametrize("server", ["werkzeug", "waitress", "gunicorn sync", "gunicorn gthread"])
def test_what_a_server_logs_of_an_exception_has_the_id_of_the_request(server):
    logger = "gunicorn.error" if "gunicorn" in server else server

    assert ids_logged_of_an_exception(SERVERS[server], logger) == {"abc"}


def echoed_and_rest(port, path):
    """What a connection says back that the application takes for itself, and what comes after its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as said:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
        connection.sendall(head.encode())
        while said.readline() != b"\r\n":
            pass
        connection.sendall(b"ping")
        echoed = said.read(4)
        connection.sendall(b"bye")
        return echoed, said.read()


@pytest.mark.parametrize(("worker", "path"), [("gevent", "/handled"), ("gthread", "/stop")])
def test_an_application_that_takes_the_connection_for_itself_has_it_for_itself(worker, path):
    port = free_port()
    command = ["-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", worker, "tests.sites.echo_site:app"]

    with Collector() as collector, Program(instrumented(*command), environment(collector.endpoint), port):
        answer = echoed_and_rest(port, path)
        (span,) = collector.wait_for(1)

    assert answer == (b"ping", b"")
    assert (span["http.response.status_code"], span["error.type"]) == (None, None)


def test_the_servers_are_patched_only_where_they_are_imported(run_python):
    said = run_python(
        """
        import sys
        from hopline.wsgi import WsgiInstrumentor
        WsgiInstrumentor().instrument()
        servers = ("wsgiref.handlers", "werkzeug", "gunicorn", "waitress", "gevent", "hypercorn", "django", "starlette")
        print([name for name in servers if name in sys.modules])
        """
    )

    assert said.strip() == "[]"


def test_an_application_that_a_server_is_given_by_name_is_wrapped_once(telemetry):
    WsgiInstrumentor().instrument(**telemetry.providers)
    environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}
    out = io.BytesIO()

    SimpleHandler(io.BytesIO(), out, io.StringIO(), environ).run(application=RequestContextMiddleware(hello))
    SimpleHandler(io.BytesIO(), out, io.StringIO(), environ).run(application=hello)
    WsgiInstrumentor().uninstrument()

    assert out.getvalue().count(b"X-Request-Id") == 2
    assert len(telemetry.spans) == 1


def test_a_server_that_runs_serves_on_when_it_is_no_longer_instrumented():
    program = """
import http.client, sys, threading, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from waitress.server import create_server
from hopline.wsgi import WsgiInstrumentor
from tests.sites.wsgi_site import app

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
instrumentor = WsgiInstrumentor()

def serve():
    server = create_server(lambda *arguments: [] if arguments[1]("200 OK", []) is None else [b"x"], port=0)
    threading.Thread(target=server.run, daemon=True).start()
    return server

def get(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.effective_port)
    connection.request("GET", "/")
    has_id = "X-Request-Id" in connection.getresponse().headers
    connection.close()
    return has_id

instrumentor.instrument(tracer_provider=provider)
server = serve()
first = get(server)
instrumentor.uninstrument()
second, third = get(server), get(serve())
instrumentor.instrument(tracer_provider=provider)
print(first, second, third, get(server), get(serve()))
# A span ends when the server has closed the response, which the client need not wait for.
deadline = time.monotonic() + 30
while len(exporter.get_finished_spans()) < 3 and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(exporter.get_finished_spans()))
"""
    said = run([sys.executable, "-c", program], environment("http://127.0.0.1:1")).stdout

    assert said.split() == ["True", "False", "False", "True", "True", "3"]
