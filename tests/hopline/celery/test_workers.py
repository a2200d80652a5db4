"""Real worker processes, under `opentelemetry-instrument`, on real brokers: what they run and what they export."""

from __future__ import annotations

import os
from collections import Counter

import celery
import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import chord
from celery.concurrency.gevent import TaskPool
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError

from hopline import Context
from hopline.celery import CeleryInstrumentor
from tests.hopline.celery.conftest import Worker
from tests.telemetry import Telemetry

WAIT = 30

# Of the client for Redis to the older Celery.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")]
NO_EXPORT_BUT_BY_FLUSHING = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}


@pytest.fixture(scope="module")
def publisher():
    """Instrument Celery in this process, which publishes the tasks."""
    telemetry = Telemetry()
    CeleryInstrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    yield telemetry
    CeleryInstrumentor().uninstrument()
    telemetry.shutdown()


@pytest.fixture(scope="module")
def prefork(redis_url, publisher):
    with Worker(redis_url, redis_url, "--concurrency=2") as worker:
        yield worker
        worker.program.stop()
        runs = Counter(span["messaging.message.id"] for span in worker.collector.spans if span.kind == "CONSUMER")
    assert set(runs.values()) == {1}, "a task was told more than once"


def get(result):
    return result.get(timeout=WAIT, interval=0.01)


def runs_of(worker, task_id, count=1):
    return worker.collector.wait_for(count, lambda span: span["messaging.message.id"] == task_id)


def terminated(worker):
    """A task that has begun to run and was terminated then."""
    Context.new("abc")
    result = worker.task("waits").delay(60)
    while not worker.app.control.inspect(timeout=0.3).active().get("tests@here"):
        pass
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        get(result)
    return result


@pytest.mark.server("redis")
def test_a_forked_process_runs_a_task_in_the_publishers_trace_and_exports_it(prefork, publisher):
    Context.new("abc")
    publisher.clear()

    result = prefork.task("whoami").delay()
    request_id, pid, _ = get(result)

    (run,) = runs_of(prefork, result.id)
    assert pid != os.getpid()
    assert run.parent_id == f"{publisher.span.context.span_id:016x}"
    assert run["hopline.request_id"] == request_id == publisher.span.attributes["hopline.request_id"]
    assert (run.kind, run["celery.state"], run["celery.hostname"]) == ("CONSUMER", "SUCCESS", "tests@here")


@pytest.mark.server("redis")
def test_a_chord_is_one_trace_whose_body_follows_the_last_of_its_header(prefork, publisher):
    Context.new("abc")
    whoami = prefork.task("whoami")

    with publisher.tracer.start_as_current_span("caller") as caller:
        result = chord([whoami.s(), whoami.s()], whoami.s()).apply_async()
    body_id, _, _ = get(result)

    trace_id = f"{caller.get_span_context().trace_id:032x}"
    runs = prefork.collector.wait_for(3, lambda span: span.kind == "CONSUMER" and span.trace_id == trace_id)
    header_ids = [run["hopline.request_id"] for run in runs if run["messaging.message.id"] != result.id]
    assert all(each.endswith("-abc") for each in header_ids)
    assert any(body_id.endswith(f"-{each}") for each in header_ids)


@pytest.mark.server("redis")
@pytest.mark.parametrize(
    ("name", "raised", "error_type"),
    [
        ("runs_long", SoftTimeLimitExceeded, "billiard.exceptions.SoftTimeLimitExceeded"),
        ("runs_too_long", TimeLimitExceeded, "billiard.exceptions.TimeLimitExceeded"),
        ("is_killed", WorkerLostError, "billiard.exceptions.WorkerLostError"),
    ],
)
def test_a_task_that_is_stopped_is_one_failed_run_of_its_duration(prefork, publisher, name, raised, error_type):
    Context.new("abc")

    result = prefork.task(name).delay()
    with pytest.raises(raised):
        get(result)

    (run,) = runs_of(prefork, result.id)
    assert (run["celery.state"], run["error.type"], run.is_error) == ("FAILURE", error_type, True)
    assert run["hopline.request_id"].endswith("-abc")
    assert run.seconds >= (0 if name == "is_killed" else 0.9)
    assert run["hopline.phase.queue"] <= 5


@pytest.mark.server("redis")
@pytest.mark.skipif(celery.VERSION < (5, 6), reason="the worker of an older Celery does not learn of it")
def test_a_task_that_ends_its_process_is_one_failed_run(prefork, publisher):
    result = prefork.task("exits").delay()
    with pytest.raises(WorkerLostError):
        get(result)

    (run,) = runs_of(prefork, result.id)
    assert (run["celery.state"], run.is_error) == ("FAILURE", True)


@pytest.mark.server("redis")
def test_what_a_worker_logs_of_a_message_has_the_id_of_its_run(prefork):
    Context.new("logged")
    with pytest.raises(WorkerLostError):
        get(prefork.task("is_killed").delay())
    prefork.app.send_task("site.unknown")
    prefork.collector.wait_for(2, lambda span: (span["hopline.request_id"] or "").endswith("-logged"))

    lines = [line for line in prefork.program.output.splitlines() if "-logged]" in line]
    logged = [line.partition("] ")[2].split()[:3] for line in lines]
    assert [" ".join(words).partition("[")[0] for words in logged] == [
        "Task site.is_killed",
        "Task handler raised",
        "Received unregistered task",
    ]


@pytest.mark.server("redis")
def test_a_task_that_is_terminated_is_told_as_revoked(prefork, publisher):
    result = terminated(prefork)

    (run,) = runs_of(prefork, result.id)
    assert (run["celery.state"], run["celery.revoked.reason"]) == ("REVOKED", "terminated")
    assert (run["celery.terminated.signal"], run.is_error) == ("15", False)


@pytest.mark.server("redis")
def test_the_time_that_a_terminated_task_has_run_is_not_told_as_time_in_the_queue(prefork, publisher):
    result = terminated(prefork)

    (run,) = runs_of(prefork, result.id)
    assert run["hopline.phase.queue"] is None


@pytest.mark.server("redis")
@pytest.mark.skipif("terminate_job" not in vars(TaskPool), reason="an older Celery cannot terminate a greenlet")
def test_a_task_that_is_terminated_in_a_greenlet_is_told_once(redis_url, publisher):
    # A database of its own, or all workers of this name would hear what is revoked.
    url = f"{redis_url}/1"
    with Worker(url, url, "--pool=gevent", "--concurrency=2", **NO_EXPORT_BUT_BY_FLUSHING) as worker:
        terminated(worker)
        worker.program.stop()
        runs = worker.collector.wait_for(1)

    assert [run["celery.state"] for run in runs] == ["REVOKED"]


@pytest.mark.server("redis")
def test_a_recycled_process_and_a_worker_that_stops_export_what_they_hold_back(redis_url, publisher):
    arguments = ("--concurrency=1", "--max-tasks-per-child=2", "-Q", "recycled")
    with Worker(redis_url, redis_url, *arguments, **NO_EXPORT_BUT_BY_FLUSHING) as worker:
        worker.app.conf.task_default_queue = "recycled"
        results = [worker.task("whoami").delay() for _ in range(3)]
        pids = [get(result)[1] for result in results]
        by_the_recycled = worker.collector.wait_for(2)
        worker.program.stop()
        by_both = worker.collector.wait_for(3)

    assert pids[0] == pids[1] != pids[2]
    first_two = {result.id for result in results[:2]}
    assert {span["messaging.message.id"] for span in by_the_recycled} == first_two
    assert {span["messaging.message.id"] for span in by_both} == {result.id for result in results}


@pytest.mark.server("redis")
def test_a_worker_stops_while_the_collector_does_not_answer(redis_url, publisher, silent_endpoint):
    silent = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent_endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
    arguments = ("--concurrency=1", "-Q", "unheard")
    with Worker(redis_url, redis_url, *arguments, **NO_EXPORT_BUT_BY_FLUSHING, **silent) as worker:
        worker.app.conf.task_default_queue = "unheard"
        get(worker.task("whoami").delay())
        worker.program.stop()
        said = worker.program.output

    assert "its spans could not be exported within 5 seconds: they may be lost" in said


@pytest.mark.server("redis")
def test_greenlets_run_tasks_at_the_same_time_each_in_its_own_context(redis_url, publisher):
    publisher.clear()
    with Worker(redis_url, redis_url, "--pool=gevent", "--concurrency=4", "-Q", "greenlets") as worker:
        worker.app.conf.task_default_queue = "greenlets"
        results = [worker.task("waits").delay(0.5) for _ in range(4)]
        seen = [get(result) for result in results]
        runs = worker.collector.wait_for(4)

    sent = sorted(span.attributes["hopline.request_id"] for span in publisher.spans)
    assert sorted(seen) == [[request_id, request_id] for request_id in sent]
    assert sorted(run["hopline.request_id"] for run in runs) == sent


def test_threads_of_a_worker_on_the_filesystem_transport_run_tasks_each_in_its_own_context(tmp_path, publisher):
    publisher.clear()
    messages, results = tmp_path / "messages", tmp_path / "results"
    messages.mkdir()
    results.mkdir()
    arguments = ("filesystem://", f"file://{results}", "--pool=threads", "--concurrency=4")
    worker = Worker(*arguments, folder=messages, **NO_EXPORT_BUT_BY_FLUSHING)
    # Before there is a worker: kombu's transport may read a message that is being written.
    results = [worker.task("waits").delay(0.5) for _ in range(4)]
    with worker:
        seen = [get(result) for result in results]
        worker.program.stop()
        runs = worker.collector.wait_for(4)

    sent = sorted(span.attributes["hopline.request_id"] for span in publisher.spans)
    assert sorted(seen) == [[request_id, request_id] for request_id in sent]
    assert sorted(run["hopline.request_id"] for run in runs) == sent
