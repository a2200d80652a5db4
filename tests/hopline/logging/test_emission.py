import json
import logging
import logging.handlers
import queue

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from hopline import Context
from hopline.context import begin
from hopline.logging import LoggingInstrumentor, OtelHandler


class Gone:
    """A proxy whose target is not there."""

    @property
    def __class__(self):
        raise ConnectionError

    __str__ = __class__.fget


@pytest.fixture
def exporter():
    return InMemoryLogRecordExporter()


@pytest.fixture
def logger_provider(exporter):
    provider = LoggerProvider(Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return provider


@pytest.fixture
def emitting(instrument, logger_provider):
    instrument(logger_provider=logger_provider)


@pytest.fixture
def emitted(exporter):
    """The records that were emitted."""
    return lambda: [each.log_record for each in exporter.get_finished_logs()]


@pytest.mark.usefixtures("emitting")
class TestRecord:
    def test_it_has_the_message_the_time_and_the_severity(self, log, kept, emitted):
        log.warning("hello %s", "world")

        (record,) = emitted()
        assert record.body == "hello world"
        assert record.timestamp == pytest.approx(kept[0].created * 1e9, abs=1000)
        assert (record.severity_number, record.severity_text) == (SeverityNumber.WARN, "WARN")

    @pytest.mark.parametrize(
        ("level", "severity"),
        [
            (5, SeverityNumber.UNSPECIFIED),
            (10, SeverityNumber.DEBUG),
            (15, SeverityNumber.DEBUG4),
            (20, SeverityNumber.INFO),
            (21, SeverityNumber.INFO2),
            (40, SeverityNumber.ERROR),
            (50, SeverityNumber.FATAL),
            (99, SeverityNumber.FATAL4),
        ],
    )
    def test_each_level_has_its_severity(self, level, severity, log, emitted):
        log.setLevel(1)

        log.log(level, "hello")

        assert [record.severity_number for record in emitted()] == [severity]

    def test_it_belongs_to_the_span(self, log, emitted, tracer):
        with tracer.start_as_current_span("span") as span:
            log.info("hello")

        (record,), context = emitted(), span.get_span_context()
        assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)

    def test_the_logger_s_name_is_its_scope(self, log, exporter):
        log.info("hello")

        (data,) = exporter.get_finished_logs()
        assert data.instrumentation_scope.name == "shop"

    def test_the_request_id_and_the_extras_are_attributes(self, log, emitted):
        with begin("abc"), Context.logging(user="ada"):
            log.info("hello", extra={"cart": 17})

        (record,) = emitted()
        assert record.attributes == {"user": "ada", "cart": 17, "hopline.request_id": "abc"}

    def test_outside_of_everything_there_are_no_attributes(self, log, emitted):
        log.info("hello")

        assert [dict(record.attributes) for record in emitted()] == [{}]

    @pytest.mark.parametrize(
        ("value", "attribute"),
        [
            (1.5, 1.5),
            (True, True),
            (["a", "b"], ("a", "b")),
            ((1, 2), (1, 2)),
            ([1, "a"], '[1,"a"]'),
            ([], ()),
            ({"a": [1]}, '{"a":[1]}'),
            (1 << 64, str(1 << 64)),
            ("\udcff", "\\udcff"),
            (b"\xff", "\\xff"),
            (range(2), "range(0, 2)"),
        ],
    )
    def test_an_extra_of_any_type_becomes_an_attribute(self, value, attribute, log, emitted, caplog):
        log.info("hello", extra={"value": value})

        (record,) = emitted()
        assert record.attributes == {"value": attribute}

    def test_an_extra_that_raises_when_it_is_looked_at_costs_no_more_than_itself(self, log, emitted):
        log.info("hello", extra={"user": Gone(), "cart": 17})

        (record,) = emitted()
        assert record.attributes == {"user": "<Gone that cannot be shown: ConnectionError>", "cart": 17}

    @pytest.mark.parametrize(("name", "key"), [(1, "1"), ("\udcff", "\\udcff")])
    def test_a_name_that_is_no_text_or_cannot_be_encoded_becomes_one(self, name, key, log, emitted):
        log.info("hello", extra={name: "x"})

        (record,) = emitted()
        assert record.attributes == {key: "x"}

    def test_an_exception_is_told_as_the_conventions_say(self, log, emitted):
        try:
            raise json.JSONDecodeError("bad", "", 0)
        except ValueError:
            log.exception("failed")

        (record,) = emitted()
        assert record.attributes["exception.type"] == "json.decoder.JSONDecodeError"
        assert record.attributes["exception.message"] == "bad: line 1 column 1 (char 0)"
        assert record.attributes["exception.stacktrace"].startswith("Traceback")

    def test_a_message_that_is_a_dictionary_stays_one(self, log, emitted):
        log.info({"event": "hello", "n": 1})

        assert [record.body for record in emitted()] == [{"event": "hello", "n": 1}]

    def test_a_message_that_cannot_say_what_it_is_is_told_as_that(self, logger_provider, emitted):
        record = logging.LogRecord("shop", logging.INFO, __file__, 1, Gone(), (), None)
        OtelHandler(logger_provider=logger_provider).handle(record)

        assert [record.body for record in emitted()] == ["<Gone that cannot be shown: ConnectionError>"]

    def test_a_message_that_cannot_be_encoded_is_escaped(self, logger_provider, emitted):
        # Not logged, for pytest would put what it captures into its report, which pytest-xdist cannot send.
        record = logging.LogRecord("shop", logging.INFO, __file__, 1, "hello \udcff", (), None)
        OtelHandler(logger_provider=logger_provider).handle(record)

        assert [record.body for record in emitted()] == ["hello \\udcff"]


class TestApplication:
    @pytest.mark.usefixtures("emitting")
    def test_no_logger_gets_a_handler(self):
        assert not any(isinstance(handler, OtelHandler) for handler in logging.getLogger().handlers)

    @pytest.mark.usefixtures("emitting")
    def test_its_handlers_get_the_record_too(self, log, kept):
        log.info("hello")

        assert [record.msg for record in kept] == ["hello"]

    @pytest.mark.usefixtures("emitting")
    def test_what_a_level_or_a_filter_holds_back_is_not_emitted(self, log, emitted):
        log.setLevel(logging.WARNING)
        log.info("held back by the level")
        log.addFilter(only_errors := lambda record: record.levelno >= logging.ERROR)
        log.warning("held back by the filter")
        log.removeFilter(only_errors)

        assert emitted() == []


class TestNotEmitted:
    @pytest.mark.usefixtures("emitting")
    def test_what_is_logged_while_instrumentation_is_suppressed(self, log, emitted):
        with suppress_instrumentation():
            log.info("hello")

        assert emitted() == []

    def test_what_an_exporter_logs_while_it_exports(self, instrument, log, kept):
        class Logging(InMemoryLogRecordExporter):
            def export(self, batch):
                log.info("exporting")
                return super().export(batch)

        exporter = Logging()
        provider = LoggerProvider(Resource({}), shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        instrument(logger_provider=provider)

        log.info("hello")

        assert [each.log_record.body for each in exporter.get_finished_logs()] == ["hello"]
        assert [record.msg for record in kept] == ["exporting", "hello"]

    def test_what_is_below_the_level(self, instrument, logger_provider, log, emitted):
        instrument(logger_provider=logger_provider, log_handler_level=logging.WARNING)

        log.info("hello")

        assert emitted() == []

    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"OTEL_LOGS_EXPORTER": "none"},
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "false"},
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"},
        ],
    )
    def test_anything_unless_there_is_an_exporter_and_nobody_else_emits(self, environment, instrument, monkeypatch):
        before = logging.Logger.callHandlers
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        instrument()

        assert logging.Logger.callHandlers is before

    def test_anything_after_uninstrumenting(self, instrument, logger_provider, log, emitted):
        before = logging.Logger.callHandlers
        instrument(logger_provider=logger_provider)

        LoggingInstrumentor().uninstrument()
        log.info("hello")

        assert logging.Logger.callHandlers is before
        assert emitted() == []


class TestCode:
    def test_the_place_of_the_call_is_told_if_asked_for(self, instrument, logger_provider, log, emitted):
        instrument(logger_provider=logger_provider, log_code_attributes=True)

        log.info("hello")

        (record,) = emitted()
        assert record.attributes["code.file.path"] == __file__
        assert record.attributes["code.function.name"] == "test_the_place_of_the_call_is_told_if_asked_for"
        assert record.attributes["code.line.number"] > 0


class TestHandler:
    def test_it_emits_where_the_application_puts_it(self, log, logger_provider, emitted):
        log.addHandler(handler := OtelHandler(logger_provider=logger_provider))
        with begin("abc"):
            log.info("hello")
        log.removeHandler(handler)

        (record,) = emitted()
        assert record.attributes == {"hopline.request_id": "abc"}

    def test_a_message_that_its_arguments_do_not_fit_is_emitted_as_it_is(self, logger_provider, emitted):
        logger = logging.Logger("own")
        logger.addHandler(OtelHandler(logger_provider=logger_provider))

        logger.info("%d", "x")

        assert [record.body for record in emitted()] == ["%d"]

    @pytest.mark.usefixtures("instrumented")
    def test_behind_a_queue_a_record_belongs_to_the_span_that_it_was_made_in(
        self, log, logger_provider, emitted, tracer
    ):
        records = queue.Queue()
        log.addHandler(handler := logging.handlers.QueueHandler(records))
        listener = logging.handlers.QueueListener(records, OtelHandler(logger_provider=logger_provider))

        with tracer.start_as_current_span("span") as span:
            log.info("hello")
        log.removeHandler(handler)
        listener.start()
        listener.stop()

        (record,), context = emitted(), span.get_span_context()
        assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)
        assert record.trace_flags.sampled

    @pytest.mark.usefixtures("instrumented")
    def test_behind_a_buffer_each_record_belongs_to_its_own_span(self, log, logger_provider, emitted, tracer):
        target = OtelHandler(logger_provider=logger_provider)
        log.addHandler(handler := logging.handlers.MemoryHandler(10, target=target))

        with tracer.start_as_current_span("one") as one:
            log.info("in one")
        log.info("in none")
        with tracer.start_as_current_span("other") as other:
            log.error("in the other")
        log.removeHandler(handler)

        assert [(record.trace_id, record.span_id) for record in emitted()] == [
            (one.get_span_context().trace_id, one.get_span_context().span_id),
            (0, 0),
            (other.get_span_context().trace_id, other.get_span_context().span_id),
        ]

    @pytest.mark.parametrize("ids", [("x", "y"), (17, 18), ("f" * 40, "f" * 40), ("0", "1")])
    def test_ids_of_the_applications_own_that_are_none_leave_a_record_where_it_is(
        self, ids, logger_provider, emitted, tracer
    ):
        extras = dict(zip(("otelTraceID", "otelSpanID"), ids, strict=True))
        with tracer.start_as_current_span("span") as span:
            OtelHandler(logger_provider=logger_provider).handle(logging.makeLogRecord({"levelno": 20, **extras}))

        assert [record.span_id for record in emitted()] == [span.get_span_context().span_id]

    def test_what_breaks_off_one_emission_does_not_stop_the_next(self, logger_provider, emitted):
        class Stop(BaseException):
            pass

        class Stopping:
            def __str__(self):
                raise Stop

        logger = logging.Logger("own")
        logger.addHandler(OtelHandler(logger_provider=logger_provider))
        with pytest.raises(Stop):
            logger.info("hello", extra={"value": Stopping()})

        logger.info("after it")

        assert [record.body for record in emitted()] == ["after it"]
