"""What is told of FastAPI on real servers when its clients leave, and when what it waits for is cancelled."""

from __future__ import annotations

import socket
import sys

import pytest

from tests.collector import Collector
from tests.hopline.asgi.test_servers import SERVERS
from tests.hopline.wsgi.test_servers import status_of
from tests.programs import Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes

UPLOAD = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"


def leave(port, request):
    """Send part of a request, or read part of its answer, and go."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        if request.startswith("GET"):
            connection.recv(1000)


@pytest.fixture(scope="module", params=["uvicorn", "hypercorn"])
def spans(request):
    """By path, what three clients that leave and one that stays have made."""
    port = free_port()
    command = [part.format(port=port).replace("asgi_site", "waiting_site") for part in SERVERS[request.param]]
    with Collector() as collector:
        with Program(instrumented(*command), environment(collector.endpoint), port):
            leave(port, f"POST /upload HTTP/1.1\r\nHost: x\r\n{UPLOAD}")
            leave(port, f"POST /json HTTP/1.1\r\nHost: x\r\n{UPLOAD}")
            leave(port, "GET /inner/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            status = status_of(port, "/shared")
            made = {span["url.path"]: span for span in collector.wait_for(4, lambda span: span.kind == "SERVER")}
        yield made, status


def told(span):
    return span["hopline.outcome"], span["http.response.status_code"], span["error.type"]


@pytest.mark.parametrize("path", ["/upload", "/json"])
def test_a_client_that_leaves_during_its_upload_is_no_error(spans, path):
    made, _ = spans

    assert told(made[path]) == ("disconnected", None, None)


def test_a_client_that_leaves_a_stream_behind_a_middleware_has_not_got_all_of_it(spans):
    made, _ = spans

    assert told(made["/inner/stream"]) == ("disconnected", 200, None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not tell who was cancelled")
def test_an_application_that_awaits_what_somebody_else_has_cancelled_is_told_as_the_500_that_is_sent(spans):
    made, status = spans

    assert status == 500
    assert told(made["/shared"]) == (None, 500, "asyncio.exceptions.CancelledError")
