"""Running a task eagerly: its caller runs it, so it is part of what the caller does."""

from __future__ import annotations

import pytest
from greenlet import GreenletExit
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind

from hopline import Context
from tests.sites.celery_site import make_app


@pytest.fixture
def app():
    app = make_app("memory://")
    yield app
    app.close()


def test_an_eager_task_runs_for_what_its_caller_is_served_for(app, instrument, telemetry):
    instrument()
    Context.new("abc")

    with telemetry.tracer.start_as_current_span("caller") as caller:
        request_id, _, _ = app.tasks["site.whoami"].apply().get()

    run = telemetry.spans[0]
    assert (run.kind, run.parent.span_id) == (SpanKind.CONSUMER, caller.get_span_context().span_id)
    assert (run.attributes["celery.is_eager"], run.attributes["celery.state"]) == (True, "SUCCESS")
    assert request_id == run.attributes["hopline.request_id"] == "abc"


def test_a_task_that_is_always_eager_leaves_nothing_to_its_caller(app, instrument):
    instrument()
    app.conf.task_always_eager = True
    Context.new("abc")
    before = dict(otel_context.get_current())

    assert app.tasks["site.pushes"].delay().get() == ["abc", {}]
    assert (Context.request_id, dict(Context.logging.extras)) == ("abc", {})
    assert dict(otel_context.get_current()) == before


def test_a_task_that_fails_with_an_error_whose_message_cannot_be_had_is_told_by_its_name(app, instrument, telemetry):
    class Mute(Exception):
        def __str__(self):
            raise AttributeError("there is no message")

    @app.task(shared=False)
    def mute():
        raise Mute

    instrument()

    mute.apply()

    assert telemetry.span.status.description.endswith("Mute")


def test_what_a_run_says_of_its_error_has_no_secrets(app, instrument, telemetry):
    @app.task(shared=False)
    def fetch():
        raise RuntimeError("cannot get https://me:SECRET@host/?sig=SECRET")

    instrument()

    fetch.apply()

    (event,) = telemetry.span.events
    assert "SECRET" not in f"{telemetry.span.status.description} {event.attributes['exception.message']}"


def test_an_eager_task_outside_of_any_request_gets_an_id(app, instrument, telemetry):
    instrument()

    request_id, _, _ = app.tasks["site.whoami"].apply().get()

    assert len(request_id) == 36
    assert Context.request_id is None


def test_a_task_that_an_eager_task_runs_has_a_span_below_it(app, instrument, telemetry):
    instrument()

    app.tasks["site.calls"].apply()

    inner, outer = telemetry.spans
    assert inner.parent.span_id == outer.context.span_id
    assert inner.attributes["hopline.request_id"] == outer.attributes["hopline.request_id"]


@pytest.mark.parametrize("propagates", [False, True])
def test_an_eager_task_that_fails_is_told_as_an_error(app, instrument, telemetry, propagates):
    instrument()
    app.conf.task_eager_propagates = propagates

    with pytest.raises(RuntimeError):
        app.tasks["site.fails"].apply().get()

    assert telemetry.span.attributes["celery.state"] == "FAILURE"
    assert telemetry.span.attributes["error.type"] == "RuntimeError"
    assert Context.request_id is None


def test_a_task_that_ends_the_process_is_told_where_the_process_goes_on(app, instrument, telemetry):
    instrument()

    with pytest.raises(SystemExit):
        app.tasks["site.exits"].apply()

    assert telemetry.span.attributes["error.type"] == "SystemExit"
    assert Context.request_id is None


def test_a_task_whose_caller_s_greenlet_is_killed_is_told(app, instrument, telemetry):
    instrument()

    @app.task(shared=False)
    def is_killed():
        raise GreenletExit

    with pytest.raises(GreenletExit):
        is_killed.apply()

    assert telemetry.span.attributes["celery.state"] == "FAILURE"


def test_nothing_is_told_where_instrumentation_is_suppressed(app, instrument, telemetry):
    instrument()

    with suppress_instrumentation():
        assert app.tasks["site.whoami"].apply().get()[0] is None

    assert telemetry.spans == []
