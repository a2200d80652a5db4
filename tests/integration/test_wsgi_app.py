"""The example of a web application, on gunicorn under `opentelemetry-instrument`: one request through two services."""

from __future__ import annotations

import http.client

import pytest

from tests.collector import Collector
from tests.loopback import LoopbackServer
from tests.programs import ROOT, Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes


def test_a_request_is_followed_through_the_example_application():
    port = free_port()
    command = ("-m", "gunicorn", "--chdir", str(ROOT / "examples"), "-b", f"127.0.0.1:{port}", "wsgi_app:application")

    with (
        Collector() as collector,
        LoopbackServer() as upstream,
        Program(instrumented(*command), environment(collector.endpoint, UPSTREAM=upstream.url), port) as program,
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/items", headers={"X-Request-Id": "abc"})
        response = connection.getresponse()
        answer = (response.status, response.read(), response.headers["X-Request-Id"])
        connection.close()
        client, server = sorted(collector.wait_for(2), key=lambda span: span.kind)
        said = program.output

    assert answer == (200, b"ok", "abc")
    (received,) = upstream.received
    assert received.headers["X-Request-Id"] == f"{client.span_id}-abc"
    assert received.headers["traceparent"].split("-")[1:3] == [server.trace_id, client.span_id]
    assert (server.kind, client.parent_id, client.trace_id) == ("SERVER", server.span_id, server.trace_id)
    assert "INFO hopline.access: GET /items 200" in said
