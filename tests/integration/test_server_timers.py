"""The statsd lines of requests that are served and of tasks, as they arrive at a socket."""

from __future__ import annotations

import re
import socket

import pytest
from opentelemetry.sdk.trace import TracerProvider

from hopline.asgi import RequestContextMiddleware as AsgiMiddleware
from hopline.celery import CeleryInstrumentor
from hopline.wsgi import RequestContextMiddleware as WsgiMiddleware
from hopline_statsd.config import StatsdConfig
from hopline_statsd.processor import StatsdSpanProcessor
from tests import asgi_gateway, gateway
from tests.sites import frameworks_site
from tests.sites.celery_site import make_app

pytestmark = pytest.mark.processes


class Lines:
    """A statsd server's socket, and what a tracer provider sends to it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(30)
        endpoint = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(StatsdSpanProcessor(StatsdConfig(endpoint=endpoint, prefix="my.prefix")))

    def close(self) -> None:
        self.provider.shutdown()
        self._socket.close()

    def received(self) -> list[str]:
        """The lines of one packet, with # for the values of timers."""
        self.provider.force_flush()
        return [re.sub(r":[0-9.e-]+\|ms", ":#|ms", line) for line in self._socket.recv(65536).decode().split("\n")]


@pytest.fixture
def lines():
    lines = Lines()
    yield lines
    lines.close()


def test_a_wsgi_request_is_a_timer_by_route_method_and_status(lines):
    app = WsgiMiddleware(frameworks_site.make_app(), tracer_provider=lines.provider)

    for path in ("/flask/shelf", "/none"):
        gateway.Gateway(app, path=path).serve()

    assert lines.received() == ["my.prefix.wsgi.flask-shelf.GET.200:#|ms", "my.prefix.wsgi.unknown.GET.404:#|ms"]


def test_an_asgi_request_is_a_timer_and_one_whose_client_left_tells_that(lines):
    async def waits(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    for app in (asgi_gateway.hello, waits):
        asgi_gateway.AsgiGateway(AsgiMiddleware(app, tracer_provider=lines.provider)).serve()

    assert lines.received() == [
        "my.prefix.asgi.unknown.GET.200:#|ms",
        "my.prefix.asgi.unknown.GET.disconnected:#|ms",
    ]


def test_a_task_makes_timers_of_its_run_and_its_publishing_and_a_counter_of_its_state(lines):
    CeleryInstrumentor().instrument(tracer_provider=lines.provider)
    app = make_app("memory://")

    app.tasks["site.whoami"].delay()
    app.tasks["site.fails"].apply()
    app.close()
    CeleryInstrumentor().uninstrument()

    assert lines.received() == [
        "my.prefix.celery.site-whoami.enqueue:#|ms",
        "my.prefix.celery.site-fails.run:#|ms",
        "my.prefix.celery.site-fails.failure:1|c",
    ]
