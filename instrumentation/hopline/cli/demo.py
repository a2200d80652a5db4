"""``hopline demo``: two services under ``opentelemetry-instrument``, a few requests, and what arrives of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from hopline.cli.otlp_receiver import OtlpReceiver
from hopline.cli.trace_tree import lines_of
from hopline_statsd.listener import StatsdListener

_PREFIX = "demo"
_START_SECONDS = 6.0
_ARRIVAL_SECONDS = 4.0
_RUN_INSTRUMENTED = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the frontend, and what must arrive of it.

    Attributes:
        title: what it shows.
        path: what is asked for.
        spans: how many spans the two services make of it.
        timers: the statsd names, without prefix and host, of the requests that the frontend makes.
    """

    title: str
    path: str
    spans: int
    timers: tuple[str, ...]

    @property
    def request_id(self) -> str:
        """The id that it comes in with."""
        return "demo" + self.path.replace("/", "-")


VISITS = (
    Visit("A request that is answered", "/items", 3, ("GET.200",)),
    Visit("A request for what is not there", "/nothing", 3, ("GET.404",)),
    Visit("A redirect that is followed", "/old-items", 5, ("GET.302", "GET.200")),
    Visit("A connection that is refused", "/down", 2, ("GET.ConnectionError",)),
)


def run() -> int:
    """Run the demonstration.

    Returns:
        The exit status: 1 if something did not arrive, which is then named on standard error.
    """
    with ExitStack() as stack:
        receiver = stack.enter_context(OtlpReceiver())
        listener = stack.enter_context(StatsdListener())
        environment = _environment(receiver.url, listener.endpoint)
        backend = stack.enter_context(_service(environment, "backend"))
        frontend = stack.enter_context(_service(environment, "frontend", backend))
        for visit in VISITS:
            _visit(frontend, visit)
        missing = [*_wait_for_spans(receiver), *_wait_for_timers(listener)]
    for visit in VISITS:
        _show(visit, receiver)
    _say("\nWhat statsd got:")
    for line in sorted(listener.lines):
        _say(f"   {line}")
    for each in missing:
        print(f"hopline demo: {each}", file=sys.stderr)  # noqa: T201
    return 1 if missing else 0


def _environment(otlp_url: str, statsd_endpoint: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "STATSD_"))},
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_url,
        "OTEL_EXPORTER_STATSD_ENDPOINT": statsd_endpoint,
        "OTEL_EXPORTER_STATSD_PREFIX": _PREFIX,
        "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "100",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@contextmanager
def _service(environment: dict[str, str], name: str, *arguments: str) -> Iterator[str]:
    """Run a service under ``opentelemetry-instrument``; gives its URL."""
    command = [sys.executable, "-m", "hopline.cli.demo_service", name, *arguments]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", _RUN_INSTRUMENTED, *command],
        env={**environment, "OTEL_SERVICE_NAME": name},
        stdout=subprocess.PIPE,
        text=True,
    )
    # Ends the wait for the URL, by the end of the service's output, should it not start.
    impatience = threading.Timer(_START_SECONDS, process.kill)
    impatience.start()
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        impatience.cancel()
        if not url:
            raise SystemExit(f"hopline demo: the {name} service did not start")
        yield url
    finally:
        impatience.cancel()
        process.terminate()
        process.communicate()


def _visit(frontend: str, visit: Visit) -> None:
    headers = {"X-Request-Id": visit.request_id}
    request = urllib.request.Request(frontend + visit.path, headers=headers)  # noqa: S310 - our own service
    try:
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - our own service
    except urllib.error.HTTPError as error:
        error.close()  # an answer as good as any


def _wait_for_spans(receiver: OtlpReceiver) -> list[str]:
    expected = sum(visit.spans for visit in VISITS)
    if receiver.wait_for(expected, _ARRIVAL_SECONDS):
        return []
    return [f"{len(receiver.spans)} of {expected} spans arrived"]


def _wait_for_timers(listener: StatsdListener) -> list[str]:
    expected = Counter(f"{_PREFIX}.requests.127-0-0-1.{timer}" for visit in VISITS for timer in visit.timers)
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while (missing := expected - Counter(line.partition(":")[0] for line in listener.lines)) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    return [f"the statsd timer {name} did not arrive" for name in missing.elements()]


def _show(visit: Visit, receiver: OtlpReceiver) -> None:
    traces = {s.trace_id for s in receiver.spans if s.attributes.get("hopline.request_id") == visit.request_id}
    _say(f"\n{visit.title}: GET {visit.path}, X-Request-Id: {visit.request_id}")
    for line in lines_of(span for span in receiver.spans if span.trace_id in traces):
        _say(f"   {line}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - what the demonstration is for
