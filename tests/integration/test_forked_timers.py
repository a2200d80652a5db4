"""Every request makes its statsd line once, whichever process makes the request and however little of it is sampled."""

from __future__ import annotations

import http.client
from collections import Counter
from contextlib import closing

import pytest
from opentelemetry.instrumentation import auto_instrumentation

from hopline_statsd.listener import StatsdListener
from tests.loopback import LoopbackServer
from tests.programs import ROOT, Program, environment, instrumented
from tests.servers import free_port

pytestmark = pytest.mark.processes

FORKING = """
import multiprocessing, sys
import requests

def work(url):
    for _ in range(10):
        requests.get(url)

if __name__ == "__main__":
    how, url = sys.argv[1:]
    requests.get(url)
    children = [multiprocessing.get_context(how).Process(target=work, args=(url,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
"""


@pytest.fixture
def upstream():
    with LoopbackServer() as server:
        yield server


def settings(statsd):
    """Nothing is sent in time, and nothing is sampled: what arrives, arrives at the end of a process."""
    return {
        "OTEL_TRACES_EXPORTER": "statsd",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint,
        "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "600000",
    }


def timers(statsd):
    """How many timers of each name came, until the listener stopped."""
    return Counter(line.partition(":")[0] for line in statsd.lines if line.endswith("|ms"))


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["each worker loads", "preload"])
def test_gunicorn_s_workers_send_all_at_sigterm(upstream, options):
    port = free_port()
    application = ("--chdir", str(ROOT / "examples"), "wsgi_app:application")
    command = ("-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", *options, *application)

    with (
        StatsdListener() as statsd,
        Program(instrumented(*command), environment(**settings(statsd), UPSTREAM=upstream.url), port),
    ):
        for _ in range(30):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("GET", "/items")
                assert connection.getresponse().status == 200

    assert timers(statsd) == {"app.wsgi.unknown.GET.200": 30, "app.requests.127-0-0-1.GET.200": 30}


# Older releases of `opentelemetry-instrument` take themselves away from the processes that a process starts.
SPAWNED_ARE_INSTRUMENTED = pytest.mark.skipif(
    not hasattr(auto_instrumentation, "_initialize"), reason="this opentelemetry-instrument instruments no subprocess"
)


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=SPAWNED_ARE_INSTRUMENTED)])
def test_processes_of_multiprocessing_send_all_when_they_end(upstream, tmp_path, how):
    script = tmp_path / "forking.py"
    script.write_text(FORKING)

    with (
        StatsdListener() as statsd,
        Program(instrumented(str(script), how, upstream.url), environment(**settings(statsd))) as program,
    ):
        assert program.wait() == 0, program.output

    assert timers(statsd) == {"app.requests.127-0-0-1.GET.200": 21}
