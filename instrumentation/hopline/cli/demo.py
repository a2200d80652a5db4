"""``hopline demo``: services under ``opentelemetry-instrument``, a few requests, and what arrives of them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import entry_points

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline.celery import CeleryInstrumentor
from hopline.cli.demo_processes import DemoProcess
from hopline.cli.otlp_receiver import OtlpReceiver
from hopline.cli.trace_tree import lines_of
from hopline.distro import our_instrumentors
from hopline.request_id import REQUEST_ID
from hopline_statsd.listener import StatsdListener

_PREFIX = "demo"
# With what it takes to start this process and to stop the others, all is done within 15 seconds.
_SECONDS = 12.5
_ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the frontend, and what must arrive of it.

    Attributes:
        title: what it shows.
        path: what is asked for.
        spans: how many spans all services make of it.
        metrics: the statsd names, without the prefix, of what it makes services do.
        notes: what to say besides.
    """

    title: str
    path: str
    spans: int
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def request_id(self) -> str:
        """The id that it comes in with."""
        return "demo" + self.path.replace("/", "-")


@dataclass(frozen=True, slots=True)
class Installed:
    """Which of the libraries that hopline does not require can be shown here."""

    celery: bool
    aiohttp: bool

    @classmethod
    def here(cls) -> Installed:
        """What is installed, in a version that hopline instruments."""
        needed = (CeleryInstrumentor(), AioHttpClientInstrumentor())
        return cls(*(get_dependency_conflicts(each.instrumentation_dependencies()) is None for each in needed))


def visits(installed: Installed) -> tuple[Visit, ...]:
    """The requests to make; the last one goes as far as ``installed`` allows."""
    get = "requests.127-0-0-1.GET."
    return (
        Visit("A request that is answered", "/items", 3, (f"{get}200",)),
        Visit("A request for what is not there", "/nothing", 3, (f"{get}404",)),
        Visit("A redirect that is followed", "/old-items", 5, (f"{get}302", f"{get}200")),
        Visit("A connection that is refused", "/down", 2, (f"{get}ConnectionError",)),
        _order(installed, get),
    )


def _order(installed: Installed, get: str) -> Visit:
    metrics = [f"{get}202", f"{get}200", f"{get}200"]
    notes = []
    if installed.celery:
        metrics += [f"celery.demo-ship.{each}" for each in ("enqueue", "queue", "run", "success")]
    else:
        notes.append("Celery is not installed: the backend does the task's work itself")
    if not installed.aiohttp:
        notes.append("aiohttp is not installed: the warehouse is asked with requests")
    title = "A request that goes on in a task, a thread pool and a third service"
    return Visit(title, "/orders", 9 if installed.celery else 7, tuple(metrics), tuple(notes))


def run() -> int:
    """Run the demonstration.

    Returns:
        The exit status: 1 if something did not arrive, which is then named on standard error.
    """
    deadline = time.monotonic() + _SECONDS
    installed = Installed.here()
    planned = visits(installed)
    with OtlpReceiver() as receiver, StatsdListener() as listener:
        environment = _environment(receiver.url, listener.endpoint)
        with tempfile.TemporaryDirectory(prefix="hopline-demo-") as folder, ExitStack() as stack:
            processes = _start(stack, environment, installed, folder, deadline)
            missing = [*_make(planned, processes, deadline)]
            deadline = min(deadline, time.monotonic() + _ARRIVAL_SECONDS)
            missing += [*_missing_spans(planned, receiver, deadline), *_missing_lines(planned, listener, deadline)]
            said = [f"{process.name:9} {line}" for process in processes for line in process.lines()]
    for visit in planned:
        _show(visit, receiver, said)
    _say("\nWhat statsd got:")
    for line in sorted(listener.lines):
        _say(f"   {line}")
    for each in missing:
        print(f"hopline demo: {each}", file=sys.stderr)  # noqa: T201
    return 1 if missing else 0


def _environment(otlp_url: str, statsd_endpoint: str) -> dict[str, str]:
    installed = {each.name for each in entry_points(group="opentelemetry_instrumentor")}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "STATSD_"))},
        # Where another distribution is installed too, the loader would take the first that it meets.
        "OTEL_PYTHON_DISTRO": "hopline",
        "OTEL_PYTHON_CONFIGURATOR": "hopline",
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_url,
        "OTEL_EXPORTER_STATSD_ENDPOINT": statsd_endpoint,
        "OTEL_EXPORTER_STATSD_PREFIX": _PREFIX,
        "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "100",
        "OTEL_METRICS_EXPORTER": "none",
        "no_proxy": "127.0.0.1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(installed - our_instrumentors())),
        # A Celery worker warns if it is root's.
        "PYTHONWARNINGS": "ignore",
    }


def _start(
    stack: ExitStack, environment: dict[str, str], installed: Installed, folder: str, deadline: float
) -> list[DemoProcess]:
    """Start all processes at once, and wait until they are ready; the frontend, the one to ask, comes first."""
    client = "aiohttp" if installed.aiohttp else "requests"
    names = ["frontend", "backend", *(["worker"] if installed.celery else []), "warehouse"]
    arguments = (client, folder if installed.celery else "")
    processes = [stack.enter_context(DemoProcess(name, environment, *arguments)) for name in names]
    for process in processes:
        # All are asked to end before any is waited for.
        stack.callback(process.terminate)
    for process in processes:
        process.wait(deadline - time.monotonic())
    frontend, backend, *_, warehouse = processes
    frontend.go(backend.url)
    backend.go(warehouse.url)
    warehouse.go()
    return processes


def _make(planned: tuple[Visit, ...], processes: list[DemoProcess], deadline: float) -> Iterator[str]:
    """Make the requests; gives what went wrong."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for visit in planned:
        headers = {"X-Request-Id": visit.request_id}
        request = urllib.request.Request(processes[0].url + visit.path, headers=headers)  # noqa: S310 - our own service
        left = max(deadline - time.monotonic(), 0.01)
        try:
            direct.open(request, timeout=left).close()
        except urllib.error.HTTPError as error:
            error.close()  # an answer as good as any
        except OSError as error:
            yield f"GET {visit.path} was not answered ({error})"
    for process in processes:
        if process.name == "worker":
            # Only now, for Celery's transport may read a message that is still being written.
            process.go()


def _missing_spans(planned: tuple[Visit, ...], receiver: OtlpReceiver, deadline: float) -> list[str]:
    expected = sum(visit.spans for visit in planned)
    if receiver.wait_for(expected, max(deadline - time.monotonic(), 0.0)):
        return []
    return [f"{len(receiver.spans)} of {expected} spans arrived"]


def _missing_lines(planned: tuple[Visit, ...], listener: StatsdListener, deadline: float) -> list[str]:
    expected = Counter(f"{_PREFIX}.{name}" for visit in planned for name in visit.metrics)
    while (missing := expected - Counter(line.partition(":")[0] for line in listener.lines)) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    return [f"the statsd line {name} did not arrive" for name in missing.elements()]


def _show(visit: Visit, receiver: OtlpReceiver, said: list[str]) -> None:
    traces = {s.trace_id for s in receiver.spans if s.attributes.get(REQUEST_ID) == visit.request_id}
    _say(f"\n{visit.title}: GET {visit.path}, X-Request-Id: {visit.request_id}")
    for note in visit.notes:
        _say(f"   ({note})")
    for line in lines_of(span for span in receiver.spans if span.trace_id in traces):
        _say(f"   {line}")
    _say("   in the logs:")
    for line in said:
        if f"{visit.request_id}]" in line:
            _say(f"      {line}")


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # noqa: T201 - what the demonstration is for
