"""Logging of whole programs, under `opentelemetry-instrument` and without it."""

import os
import sys
import textwrap

import pytest

from tests import programs
from tests.collector import logs_received, spans_received
from tests.programs import INSTRUMENT

pytestmark = pytest.mark.processes


@pytest.fixture
def run(tmp_path, server):
    """Runs a program with the server as its OTLP receiver; gives what it printed, and to its errors."""

    def run(program, *, instrumented=True, **environment):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(program))
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_METRICS_EXPORTER": "none"}
        command = [*([INSTRUMENT] if instrumented else []), sys.executable, str(path)]
        finished = programs.run(command, {**os.environ, **settings, **environment})
        return finished.stdout, finished.stderr

    return run


UNCONFIGURED = """
    import logging

    root, logger = logging.getLogger(), logging.getLogger("shop")
    logger.warning("by the last resort")
    print(root.handlers, root.level, logger.handlers, logger.propagate)
    logging.basicConfig(level=logging.INFO)
    logger.info("by the application's handler")
    print(root.handlers, root.level)
"""


@pytest.mark.parametrize("exporter", ["none", "otlp"])
def test_a_program_that_configures_no_logging_logs_as_it_would_without_us(exporter, run):
    assert run(UNCONFIGURED, OTEL_LOGS_EXPORTER=exporter) == run(UNCONFIGURED, instrumented=False)


def test_a_format_string_may_name_the_fields_from_the_first_line_on(run):
    program = """
        import logging
        logging.basicConfig(format="%(request_id)s %(otelTraceID)s %(otelServiceName)s %(message)s")
        logging.warning("hello")
    """

    _, errors = run(program, OTEL_SERVICE_NAME="shop")

    assert errors == "None 0 shop hello\n"


def test_records_arrive_as_otlp_logs_with_their_ids_and_extras(run, server):
    program = """
        import logging
        from opentelemetry import trace
        from hopline import Context

        Context.new("abc")
        with trace.get_tracer("test").start_as_current_span("span"), Context.logging(user="ada"):
            logging.getLogger("shop").warning("hello", extra={"cart": 17})
    """

    run(program, OTEL_LOGS_EXPORTER="otlp")

    (record,), (span,) = logs_received(server), spans_received(server)
    assert record.body == "hello"
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.attributes == {"hopline.request_id": "abc", "user": "ada", "cart": 17}


def test_values_of_every_kind_arrive(run, server):
    program = r"""
        import logging
        values = {"surrogate": "\udcff", "large": 1 << 70, "bytes": b"\xff", "object": range(2), "mixed": [1, "a"]}
        logging.getLogger("shop").warning("hello \udcff", extra=values)
        logging.getLogger("shop").warning("after it")
    """

    run(program, OTEL_LOGS_EXPORTER="otlp", PYTHONIOENCODING="utf-8:backslashreplace")

    hello, after = logs_received(server)
    assert (hello.body, after.body) == ("hello \\udcff", "after it")
    assert hello.attributes == {
        "surrogate": "\\udcff",
        "large": str(1 << 70),
        "bytes": "\\xff",
        "object": "range(0, 2)",
        "mixed": '[1,"a"]',
    }


def test_records_arrive_after_the_application_has_configured_its_logging(run, server):
    program = """
        import logging, logging.config
        logging.config.dictConfig({
            "version": 1,
            "formatters": {"json": {"()": "hopline.logging.JsonFormatter"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
            "root": {"handlers": ["out"], "level": "INFO"},
        })
        logging.info("hello")
    """

    output, errors = run(program, OTEL_LOGS_EXPORTER="otlp")

    assert '"message":"hello"' in output
    assert errors == ""
    assert [record.body for record in logs_received(server)] == ["hello"]


def test_no_handler_that_the_sdk_has_deprecated_is_used(run):
    program = """
        import logging, warnings
        logging.getLogger("shop").warning("hello")
    """

    _, errors = run(program, OTEL_LOGS_EXPORTER="otlp", PYTHONWARNINGS="always::DeprecationWarning")

    assert "LoggingHandler" not in errors


def test_the_sdk_s_own_handler_where_it_is_asked_for_emits_each_record_once(run, server):
    program = """
        import logging
        logging.getLogger("shop").warning("hello", extra={"cart": 17})
    """

    run(program, OTEL_LOGS_EXPORTER="otlp", OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED="true")

    (record,) = logs_received(server)
    assert record.attributes["cart"] == 17
