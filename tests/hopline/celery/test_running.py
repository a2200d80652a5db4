"""Running a task: the CONSUMER span and the context that it runs in, in a worker in this process."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
from celery import chain, group
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging, task_postrun
from opentelemetry import propagate
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline import Context
from hopline.celery import CeleryInstrumentor
from hopline.propagators import DeadlinePropagator, RequestIdPropagator
from tests.sites.celery_site import Expected, make_app
from tests.telemetry import Telemetry

WAIT = 30


@pytest.fixture(scope="module")
def app():
    app = make_app("memory://", "cache+memory://")
    yield app
    app.close()


@pytest.fixture(scope="module")
def shared_telemetry(app):
    """What a worker tells that runs in a thread of this process, for all tests here: to stop one takes seconds."""
    telemetry = Telemetry()
    CeleryInstrumentor().instrument(tracer_provider=telemetry.tracer_provider)
    # A worker sets the process's logging up, unless somebody else says that they do.
    setup_logging.connect(leave_logging_alone, weak=False)
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=WAIT):
        yield telemetry
    setup_logging.disconnect(leave_logging_alone)
    CeleryInstrumentor().uninstrument()
    telemetry.shutdown()


def leave_logging_alone(**_):
    pass


@pytest.fixture
def telemetry(shared_telemetry):
    shared_telemetry.clear()
    return shared_telemetry


@pytest.fixture
def worker(app, telemetry):
    """The worker's tasks, by their short names."""
    return lambda name: app.tasks[f"site.{name}"]


def run_spans(telemetry, count=1):
    """The CONSUMER spans, once there are `count`; in the order in which they ended."""
    deadline = time.monotonic() + WAIT
    while len(found := [span for span in telemetry.spans if span.kind is SpanKind.CONSUMER]) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.005)
    assert len(found) == count
    return found


def test_a_run_is_one_consumer_span_under_the_producers(worker, telemetry):
    result = worker("whoami").delay()
    result.get(timeout=WAIT, interval=0.01)

    (run,) = run_spans(telemetry)
    (publish,) = [span for span in telemetry.spans if span.kind is SpanKind.PRODUCER]
    assert (run.name, run.parent.span_id) == ("run/site.whoami", publish.context.span_id)
    attributes = dict(run.attributes)
    assert 0 <= attributes.pop("hopline.phase.queue") < WAIT
    assert attributes.pop("celery.hostname")
    assert attributes == {
        "celery.action": "run",
        "celery.state": "SUCCESS",
        "celery.task_name": "site.whoami",
        "hopline.request_id": publish.attributes["hopline.request_id"],
        "messaging.destination.name": "celery",
        "messaging.message.id": result.id,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.system": "celery",
    }


def test_the_task_runs_with_the_id_that_was_sent(worker, telemetry):
    Context.new("abc")

    request_id, _, _ = worker("whoami").delay().get(timeout=WAIT, interval=0.01)

    assert request_id == run_spans(telemetry)[0].attributes["hopline.request_id"]
    assert request_id.endswith("-abc")
    assert len(request_id) == len("0123456789abcdef-abc")


def test_the_task_runs_with_the_deadline_that_was_sent(worker):
    propagate.set_global_textmap(CompositePropagator([RequestIdPropagator(), DeadlinePropagator()]))
    moment = datetime.now(timezone.utc) + timedelta(hours=1)
    Context.set_absolute_deadline(moment)

    _, _, deadline = worker("whoami").delay().get(timeout=WAIT, interval=0.01)

    assert deadline == pytest.approx(moment.timestamp(), abs=0.01)


def test_a_task_leaves_nothing_to_the_next_one(worker):
    first = worker("pushes").delay().get(timeout=WAIT, interval=0.01)
    second = worker("pushes").delay().get(timeout=WAIT, interval=0.01)

    assert first[1] == second[1] == {}
    assert "changed" not in (first[0], second[0])


def test_a_message_of_somebody_who_is_not_instrumented_gets_an_id_and_a_trace_of_its_own(app, worker, telemetry):
    propagate.set_global_textmap(CompositePropagator([]))
    with app.connection_for_write() as connection, connection.Producer() as producer:
        message = app.amqp.as_task_v2("the-id", "site.whoami")
        producer.publish(message.body, routing_key="celery", headers=message.headers, **message.properties)

    (run,) = run_spans(telemetry)
    assert run.parent is None
    assert len(run.attributes["hopline.request_id"]) == 36
    assert "hopline.phase.queue" not in run.attributes


def test_who_is_told_that_a_task_has_run_is_told_in_its_context(worker, telemetry):
    seen = []

    def receiver(**_):
        seen.append((Context.request_id, get_current_span().get_span_context()))

    # Behind the instrumentor's own, which it has connected when Celery was imported.
    task_postrun.connect(receiver)
    worker("whoami").delay().get(timeout=WAIT, interval=0.01)
    (run,) = run_spans(telemetry)
    task_postrun.disconnect(receiver)

    assert seen == [(run.attributes["hopline.request_id"], run.context)]


@pytest.mark.parametrize("hostile", ["a\nb", "x" * 4096, 7, None, ["a\0b"], {"a": 1}])
def test_a_hostile_id_in_a_message_is_replaced(worker, hostile, caplog):
    request_id, _, _ = worker("whoami").apply_async(headers={"X-Request-Id": hostile}).get(timeout=WAIT, interval=0.01)

    assert len(request_id) == 36
    assert "a\nb" not in caplog.text


@pytest.mark.parametrize("sent_at", ["soon", float("nan"), None, [1]])
def test_a_time_of_sending_that_makes_no_sense_is_not_told(app, worker, telemetry, sent_at):
    with app.connection_for_write() as connection, connection.Producer() as producer:
        message = app.amqp.as_task_v2("the-id", "site.whoami")
        headers = {**message.headers, "hopline_sent_at": sent_at}
        producer.publish(message.body, routing_key="celery", headers=headers, **message.properties)

    assert "hopline.phase.queue" not in run_spans(telemetry)[0].attributes


def test_a_message_from_a_clock_that_is_ahead_has_not_waited(app, worker, telemetry):
    with app.connection_for_write() as connection, connection.Producer() as producer:
        message = app.amqp.as_task_v2("the-id", "site.whoami")
        headers = {**message.headers, "hopline_sent_at": time.time() + 3600}
        producer.publish(message.body, routing_key="celery", headers=headers, **message.properties)

    assert run_spans(telemetry)[0].attributes["hopline.phase.queue"] == 0


def test_waiting_for_the_moment_that_a_task_is_meant_for_is_no_queueing(worker, telemetry):
    worker("whoami").apply_async(countdown=1.5).get(timeout=WAIT, interval=0.01)

    (publish,) = [span for span in telemetry.spans if span.kind is SpanKind.PRODUCER]
    (run,) = run_spans(telemetry)
    waited = (run.start_time - publish.end_time) / 1e9
    assert waited > 1.4
    assert run.attributes["hopline.phase.queue"] <= waited - 1.4


def test_a_task_that_fails_is_an_error_named_by_its_exception(worker, telemetry):
    with pytest.raises(RuntimeError):
        worker("fails").delay().get(timeout=WAIT, interval=0.01)

    (run,) = run_spans(telemetry)
    assert (run.attributes["celery.state"], run.attributes["error.type"]) == ("FAILURE", "RuntimeError")
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "no")
    assert run.events[0].attributes["exception.type"] == "RuntimeError"


def test_an_exception_that_the_task_declares_is_a_failure_but_no_error(worker, telemetry):
    with pytest.raises(Expected):
        worker("fails_as_expected").delay().get(timeout=WAIT, interval=0.01)

    (run,) = run_spans(telemetry)
    assert run.attributes["celery.state"] == "FAILURE"
    assert run.attributes["error.type"].endswith("celery_site.Expected")
    assert run.status.status_code is StatusCode.UNSET


def test_each_retry_is_a_run_of_its_own_in_one_trace_with_a_longer_id(worker, telemetry):
    Context.new("abc")

    last_id = worker("retries").delay().get(timeout=WAIT, interval=0.01)

    runs = run_spans(telemetry, 3)
    assert [run.attributes["celery.state"] for run in runs] == ["RETRY", "RETRY", "SUCCESS"]
    assert [run.attributes.get("celery.retries") for run in runs] == [None, 1, 2]
    assert "RuntimeError('again')" in runs[0].attributes["celery.retry.reason"]
    assert len({span.context.trace_id for span in telemetry.spans}) == 1
    ids = [run.attributes["hopline.request_id"] for run in runs]
    assert ids[2] == last_id
    assert ids[2].endswith(ids[1])
    assert ids[1].endswith(ids[0])
    assert ids[0].endswith("-abc")
    assert {run.status.status_code for run in runs} == {StatusCode.UNSET}


def test_a_retry_is_timed_from_its_own_message(worker, telemetry):
    worker("retries").delay().get(timeout=WAIT, interval=0.01)

    runs = run_spans(telemetry, 3)
    publishes = [span for span in telemetry.spans if span.kind is SpanKind.PRODUCER]
    publishes.sort(key=lambda span: span.start_time)
    for publish, run in zip(publishes, runs, strict=True):
        assert run.attributes["hopline.phase.queue"] <= (run.start_time - publish.start_time) / 1e9 + 0.01


@pytest.mark.parametrize(("name", "state"), [("rejects", "REJECTED"), ("ignores", "IGNORED")])
def test_a_task_that_rejects_or_ignores_its_message_is_told_as_that(worker, telemetry, name, state):
    worker(name).delay()

    assert run_spans(telemetry)[0].attributes["celery.state"] == state


def test_a_task_that_is_revoked_before_it_runs_is_told(app, worker, telemetry):
    Context.new("abc")
    worker("whoami").apply_async(expires=-1)

    (run,) = run_spans(telemetry)
    assert (run.attributes["celery.state"], run.attributes["celery.revoked.reason"]) == ("REVOKED", "expired")
    assert run.attributes["hopline.request_id"].endswith("-abc")
    assert run.status.status_code is StatusCode.UNSET


def test_a_message_for_a_task_that_the_worker_does_not_have_is_told(app, worker, telemetry):
    result = app.send_task("site.elsewhere")

    (run,) = run_spans(telemetry)
    assert (run.name, run.attributes["messaging.message.id"]) == ("run/site.elsewhere", result.id)
    assert run.attributes["celery.state"] == "REJECTED"
    assert run.status.status_code is StatusCode.ERROR


def test_a_chain_is_one_trace_in_which_each_task_follows_the_one_before(worker, telemetry):
    Context.new("abc")

    chain(worker("whoami").s(), worker("whoami").s()).apply_async().get(timeout=WAIT, interval=0.01)

    first, second = run_spans(telemetry, 2)
    assert first.context.trace_id == second.context.trace_id
    assert second.attributes["hopline.request_id"].endswith(f"-{first.attributes['hopline.request_id']}")


def test_a_group_is_one_trace_in_which_each_task_has_an_id_of_its_own(worker, telemetry):
    Context.new("abc")
    with telemetry.tracer.start_as_current_span("caller"):
        group(worker("whoami").s() for _ in range(3)).apply_async().get(timeout=WAIT, interval=0.01)

    runs = run_spans(telemetry, 3)
    assert len({run.context.trace_id for run in runs}) == 1
    ids = {run.attributes["hopline.request_id"] for run in runs}
    assert len(ids) == 3
    assert all(each.endswith("-abc") for each in ids)


def test_the_trace_of_a_message_with_another_propagators_header_is_continued(app, worker, telemetry):
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with app.connection_for_write() as connection, connection.Producer() as producer:
        message = app.amqp.as_task_v2("the-id", "site.whoami")
        headers = {**message.headers, "traceparent": traceparent}
        producer.publish(message.body, routing_key="celery", headers=headers, **message.properties)

    assert f"{run_spans(telemetry)[0].parent.span_id:016x}" == "b7ad6b7169203331"
