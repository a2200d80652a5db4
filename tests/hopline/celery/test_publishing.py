"""Publishing a task: the PRODUCER span and what the message carries."""

from __future__ import annotations

import time

import pytest
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind, StatusCode

from hopline import Context
from hopline.celery import CeleryInstrumentor
from hopline.request_id import is_valid
from tests.sites.celery_site import make_app


@pytest.fixture
def app():
    app = make_app("memory://")
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge("celery")  # the process has one memory for all tests
    yield app
    app.close()


def sent(app):
    """The header of the one message that waits in the queue."""
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
        assert connection.default_channel.basic_get("celery", no_ack=True) is None
        return message.headers


def test_publishing_makes_one_producer_span(app, instrument, telemetry):
    instrument()

    result = app.tasks["site.whoami"].delay()

    span = telemetry.span
    assert (span.name, span.kind) == ("apply_async/site.whoami", SpanKind.PRODUCER)
    assert dict(span.attributes) == {
        "celery.action": "apply_async",
        "celery.task_name": "site.whoami",
        "hopline.request_id": f"{span.context.span_id:016x}",
        "messaging.destination.name": "celery",
        "messaging.message.id": result.id,
        "messaging.operation.name": "apply_async",
        "messaging.operation.type": "send",
        "messaging.system": "celery",
    }
    sent(app)


def test_a_message_carries_trace_baggage_and_id(app, instrument, telemetry):
    instrument()
    Context.new("abc")
    before = time.time()

    app.tasks["site.whoami"].delay()

    headers, span = sent(app), telemetry.span
    assert headers["traceparent"].split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]
    assert headers["X-Request-Id"] == f"{span.context.span_id:016x}-abc" == span.attributes["hopline.request_id"]
    assert before - 0.001 <= headers["hopline_sent_at"] <= time.time() + 0.001


def test_a_task_that_is_sent_by_its_name_is_told_too(app, instrument, telemetry):
    instrument()

    app.send_task("elsewhere.task")

    assert telemetry.span.attributes["celery.task_name"] == "elsewhere.task"
    sent(app)


def test_the_id_goes_along_even_where_the_global_propagator_leaves_it_out(app, instrument):
    instrument()
    propagate.set_global_textmap(CompositePropagator([]))
    Context.new("abc")

    app.tasks["site.whoami"].delay()

    assert sent(app)["X-Request-Id"].endswith("-abc")


def test_an_id_that_the_caller_sets_stays(app, instrument, telemetry):
    instrument()

    app.tasks["site.whoami"].apply_async(headers={"X-Request-Id": "mine"})

    assert sent(app)["X-Request-Id"] == telemetry.span.attributes["hopline.request_id"] == "mine"


def test_an_id_that_the_application_has_set_in_lower_case_is_told_too(app, instrument, telemetry):
    instrument()

    app.tasks["site.whoami"].apply_async(headers={"x-request-id": "mine"})

    assert telemetry.span.attributes["hopline.request_id"] == "mine"


def test_each_message_of_a_group_has_an_id_of_its_own(app, instrument, telemetry):
    instrument()
    Context.new("abc")
    whoami = app.tasks["site.whoami"]

    for _ in range(2):
        whoami.delay()

    ids = {span.attributes["hopline.request_id"] for span in telemetry.spans}
    assert len(ids) == 2
    assert all(is_valid(each) and each.endswith("-abc") for each in ids)
    app.control.purge()


def test_what_is_done_while_a_message_is_published_belongs_to_its_span(app, instrument, telemetry):
    instrument()
    from celery.signals import before_task_publish

    def receiver(**_):
        telemetry.tracer.start_span("while publishing").end()

    before_task_publish.connect(receiver, weak=False)
    try:
        app.tasks["site.whoami"].delay()
    finally:
        before_task_publish.disconnect(receiver)

    inner, outer = telemetry.spans
    assert inner.parent.span_id == outer.context.span_id
    sent(app)


def test_nothing_stays_attached_after_publishing(app, instrument):
    instrument()
    before = dict(otel_context.get_current())

    app.tasks["site.whoami"].delay()

    assert dict(otel_context.get_current()) == before
    sent(app)


def test_a_message_that_cannot_be_published_ends_its_span_as_an_error(instrument, telemetry, tmp_path):
    instrument()
    app = make_app("filesystem://", folder=str(tmp_path / "none"))
    before = dict(otel_context.get_current())

    with pytest.raises(FileNotFoundError):
        app.tasks["site.whoami"].apply_async(retry=False)
    app.close()

    assert telemetry.span.attributes["error.type"] == "FileNotFoundError"
    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert dict(otel_context.get_current()) == before


def test_a_call_that_is_refused_before_it_is_published_leaves_no_span(app, instrument, telemetry):
    instrument()

    with pytest.raises(TypeError):
        app.send_task("site.whoami", args="not a list")

    assert telemetry.spans == []


def test_nothing_is_told_where_instrumentation_is_suppressed_by_the_name_of_older_releases(app, instrument, telemetry):
    instrument()

    token = otel_context.attach(otel_context.set_value("suppress_instrumentation", True))
    app.tasks["site.whoami"].delay()
    otel_context.detach(token)

    assert telemetry.spans == []


def test_nothing_is_told_where_instrumentation_is_suppressed(app, instrument, telemetry):
    instrument()

    with suppress_instrumentation():
        app.tasks["site.whoami"].delay()

    assert telemetry.spans == []
    assert "traceparent" not in sent(app)


def test_a_message_of_the_first_protocol_is_told_by_the_id_in_its_body(app, instrument, telemetry):
    instrument()
    app.conf.task_protocol = 1

    result = app.tasks["site.whoami"].delay()

    assert telemetry.span.attributes["messaging.message.id"] == result.id
    assert "traceparent" in sent(app)


def test_nothing_is_told_any_more_when_uninstrumented(app, instrument, telemetry):
    instrument()
    CeleryInstrumentor().uninstrument()

    app.tasks["site.whoami"].delay()

    assert telemetry.spans == []
    assert "traceparent" not in sent(app)


def test_instrumenting_again_tells_each_message_once(app, instrument, telemetry):
    instrument()
    CeleryInstrumentor().uninstrument()
    instrument()

    app.tasks["site.whoami"].delay()

    assert len(telemetry.spans) == 1
    sent(app)


def test_an_error_of_ours_harms_no_message(app, instrument, caplog):
    class Broken:
        def get_tracer(self, *arguments, **keywords):
            return self

        def start_span(self, *arguments, **keywords):
            raise RuntimeError("ours")

    instrument(tracer_provider=Broken())

    app.tasks["site.whoami"].delay()

    assert "the application goes on" in caplog.text
    assert "traceparent" not in sent(app)


def test_instrumenting_does_not_import_celery(run_python):
    said = run_python(
        """
        import sys
        from hopline.celery import CeleryInstrumentor
        CeleryInstrumentor().instrument()
        print("celery" in sys.modules, "kombu" in sys.modules)
        import celery
        from celery import signals
        print(len(signals.task_prerun.receivers))
        CeleryInstrumentor().uninstrument()
        print(len(signals.task_prerun.receivers))
        """
    )

    assert said.split() == ["False", "False", "1", "0"]
