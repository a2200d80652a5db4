import json
import logging

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from hopline import Context
from hopline.context import begin
from hopline.logging import JsonFormatter, add_context


@pytest.fixture
def events():
    return []


@pytest.fixture
def log(events):
    def keep(logger, method_name, event_dict):
        events.append(event_dict)
        raise structlog.DropEvent

    return structlog.wrap_logger(structlog.PrintLogger(), processors=[add_context, keep])


def test_an_event_outside_of_everything_stays_as_it_is(log, events):
    log.info("hello")

    assert events == [{"event": "hello"}]


def test_an_event_gets_the_ids_of_its_request_and_span(log, events):
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer(__name__)
    with begin("abc"), tracer.start_as_current_span("span") as span:
        log.info("hello")

    context = span.get_span_context()
    assert events == [
        {
            "event": "hello",
            "request_id": "abc",
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "trace_flags": "01",
        }
    ]


def test_an_event_gets_the_extras(log, events):
    with Context.logging(user="ada"):
        log.info("hello")

    assert events == [{"event": "hello", "user": "ada"}]


def test_what_the_event_has_stays(log, events):
    with begin("abc"), Context.logging(user="ada"):
        log.info("hello", request_id="mine", user="mine")

    assert events == [{"event": "hello", "request_id": "mine", "user": "mine"}]


@pytest.mark.usefixtures("instrumented")
def test_events_that_go_through_logging_are_told_once_with_their_ids(lines):
    lines.formatted(JsonFormatter())
    log = structlog.wrap_logger(
        logging.getLogger("lines"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[add_context, structlog.stdlib.render_to_log_kwargs],
    )

    with begin("abc"), Context.logging(user="ada"):
        log.info("hello", cart="c1")

    line = json.loads(lines.read())
    assert [line[name] for name in ("message", "request_id", "user", "cart")] == ["hello", "abc", "ada", "c1"]
