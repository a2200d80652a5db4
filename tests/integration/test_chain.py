"""One request through gunicorn, requests, a second service, Celery on Redis, a thread, aiohttp and a third service."""

from __future__ import annotations

import http.client
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from hopline_statsd.listener import StatsdListener
from tests.collector import Collector, Exported
from tests.programs import Program, environment, instrumented
from tests.servers import Redis, free_port

pytestmark = [pytest.mark.processes, pytest.mark.server("redis")]

SITE = "tests.sites.chain_site"
SPANS = 7
STATSD = {
    "chain.wsgi.unknown.GET.200": 2,
    "chain.asgi.unknown.GET.200": 1,
    "chain.requests.127-0-0-1.GET.200": 2,
    "chain.requests.127-0-0-1.connections": 2,
    "chain.celery.chain-task.enqueue": 1,
    "chain.celery.chain-task.queue": 1,
    "chain.celery.chain-task.run": 1,
    "chain.celery.chain-task.success": 1,
}

# The names of the loggers that must have written, process by process.
LOGGERS = {
    "first": {"chain", "hopline.access", "gunicorn.access"},
    "second": {"chain", "hopline.access"},
    "worker": {"chain", "celery.worker.strategy", "celery.app.trace"},
    "third": {"chain", "hopline.access", "uvicorn.access"},
}


@dataclass
class Chain:
    """What one request has left behind.

    Attributes:
        response_id: the response's `X-Request-Id`.
        received: by the name of a service or task, the header that it received.
        spans: all spans, in the order in which they began to be on the way: each one's parent is the one before.
        lines: by the name of a process, the fields of each log line that it wrote from the request on.
        statsd: the names of the statsd lines.
    """

    response_id: str | None
    received: dict[str, dict[str, str]]
    spans: list[Exported]
    lines: dict[str, list[list[str]]]
    statsd: Counter[str]

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        return self.spans[0].trace_id


def programs(collector: Collector, statsd: StatsdListener, redis: Redis, ports: dict[str, int]) -> dict[str, Program]:
    """The processes by name, none of them started yet."""
    urls = {f"CHAIN_{name.upper()}": f"http://127.0.0.1:{port}/{name}" for name, port in ports.items()}
    settings = {
        "CHAIN_REDIS": redis.url,
        "OTEL_EXPORTER_STATSD_ENDPOINT": statsd.endpoint,
        "OTEL_EXPORTER_STATSD_PREFIX": "chain",
        "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "100",
        # Of other distributions: they take longer to import than all else.
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "django,fastapi,flask,starlette,urllib3",
        **urls,
    }
    alone = ("--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat", "--hostname=w@here")
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    commands = {
        "first": ("-m", "gunicorn", "-b", listen["first"], "--access-logfile=-", f"{SITE}:first"),
        "second": ("-m", "waitress", f"--listen={listen['second']}", f"{SITE}:second"),
        "third": ("-m", "uvicorn", "--port", str(ports["third"]), f"{SITE}:third"),
        "worker": ("-m", "celery", "-A", SITE, "worker", "--loglevel=INFO", *alone),
    }
    return {
        name: Program(
            instrumented(*command),
            environment(collector.endpoint, **{**settings, "OTEL_SERVICE_NAME": name}),
            ports.get(name),
            "w@here ready" if name == "worker" else None,
        )
        for name, command in commands.items()
    }


def get(port: int) -> tuple[str | None, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/first", headers={"X-Request-Id": "abc"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return response.headers["X-Request-Id"], json.loads(body)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Send the request, and wait for everything that it leaves behind."""
    ports = {name: free_port() for name in ("first", "second", "third")}
    with Collector() as collector, StatsdListener() as statsd, Redis(tmp_path_factory.mktemp("redis")) as redis:
        running = programs(collector, statsd, redis, ports)
        with ExitStack() as stack:
            with ThreadPoolExecutor() as starting:
                list(starting.map(stack.enter_context, running.values()))
            said_before = {name: len(program.output) for name, program in running.items()}
            response_id, received = get(ports["first"])
            spans = collector.wait_for(SPANS)
            statsd.wait_for(sum(STATSD.values()), timeout=30)
            said = {name: program.output[said_before[name] :] for name, program in running.items()}
    return Chain(
        response_id,
        received,
        on_the_way(spans),
        {name: [line.split("|", 3) for line in lines.splitlines()] for name, lines in said.items()},
        Counter(line.partition(":")[0] for line in statsd.lines),
    )


def on_the_way(spans: list[Exported]) -> list[Exported]:
    """The spans from the outermost to the innermost, as far as each has one child."""
    by_parent = {span.parent_id: span for span in spans}
    way = [by_parent[""]]
    while way[-1].span_id in by_parent:
        way.append(by_parent[way[-1].span_id])
    return way


def is_of_the_request(request_id: str | None) -> bool:
    return re.fullmatch(r"([0-9a-f]{16}-)*abc", request_id or "") is not None


def test_the_spans_of_all_processes_are_one_trace_each_below_the_one_before(chain):
    assert [(span.service, span.kind) for span in chain.spans] == [
        ("first", "SERVER"),
        ("first", "CLIENT"),
        ("second", "SERVER"),
        ("second", "PRODUCER"),
        ("worker", "CONSUMER"),
        ("worker", "CLIENT"),
        ("third", "SERVER"),
    ]
    assert {span.trace_id for span in chain.spans} == {chain.trace_id}


def test_the_id_of_each_span_grows_by_the_span_that_sent_it(chain):
    sending = [span.span_id for span in chain.spans if span.kind in ("CLIENT", "PRODUCER")]
    ids = ["abc", *["-".join([*sending[hop::-1], "abc"]) for hop in range(3)]]

    assert [span["hopline.request_id"] for span in chain.spans] == [
        *ids[:2],
        *ids[1:3],
        *ids[2:4],
        ids[3],
    ]


def test_each_service_and_the_task_received_the_id_and_the_trace(chain):
    assert list(chain.received) == ["first", "second", "task", "third"]
    assert all(is_of_the_request(header["x-request-id"]) for header in chain.received.values())
    passed_on = [header["traceparent"].split("-")[1] for name, header in chain.received.items() if name != "first"]
    assert passed_on == [chain.trace_id] * 3


def test_whoever_asked_gets_its_id_back(chain):
    assert chain.response_id == "abc"


@pytest.mark.parametrize("process", LOGGERS)
def test_every_log_line_of_a_process_has_the_id_and_the_trace(process, chain):
    lines = chain.lines[process]

    assert {name for name, *_ in lines} >= LOGGERS[process]
    assert [line for line in lines if not is_of_the_request(line[1])] == []
    assert [line for line in lines if line[2] != chain.trace_id] == []


def test_every_hop_is_a_line_in_statsd(chain):
    assert chain.statsd == STATSD
