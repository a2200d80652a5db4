import asyncio
import logging
import logging.handlers
import queue
from threading import Thread

import pytest
from opentelemetry import trace
from opentelemetry.util._importlib_metadata import entry_points

from hopline import Context
from hopline.context import begin
from hopline.logging import LoggingInstrumentor

FORMAT = "%(request_id)s %(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s %(message)s"
FIELDS = ("request_id", "otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName")


def fields(record):
    return tuple(record.__dict__.get(name, "missing") for name in FIELDS)


@pytest.fixture
def factory():
    """Sets a record factory until the test ends."""
    before = logging.getLogRecordFactory()
    yield logging.setLogRecordFactory
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("instrumented")
class TestFields:
    def test_they_are_there_without_a_request_or_a_span(self, lines):
        lines.formatted(FORMAT).info("hello")

        assert lines.read() == "None 0 0 False shop hello\n"

    def test_they_hold_the_ids_of_the_request_and_of_the_span(self, lines, tracer):
        with begin("abc"), tracer.start_as_current_span("span") as span:
            lines.formatted(FORMAT).info("hello")

        context = span.get_span_context()
        assert lines.read() == f"abc {context.trace_id:032x} {context.span_id:016x} True shop hello\n"

    def test_they_change_with_the_span(self, log, kept, tracer):
        with tracer.start_as_current_span("outer") as outer:
            with tracer.start_as_current_span("inner") as inner:
                log.info("in the inner")
            log.info("in the outer")
        log.info("in none")

        assert [record.otelSpanID for record in kept] == [
            f"{inner.get_span_context().span_id:016x}",
            f"{outer.get_span_context().span_id:016x}",
            "0",
        ]

    def test_they_change_with_the_request_id(self, log, kept):
        with begin("abc"):
            log.info("before")
            Context.request_id = "def"
            log.info("after")
        log.info("outside")

        assert [record.request_id for record in kept] == ["abc", "def", None]

    def test_a_span_that_is_not_sampled_shows_its_ids_and_that(self, log, kept):
        context = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
        with trace.use_span(trace.NonRecordingSpan(context)):
            log.info("hello")

        (record,) = kept
        assert (record.otelTraceID, record.otelTraceSampled) == (f"{1:032x}", False)

    def test_each_task_has_its_own(self, log, kept):
        async def serve(request_id):
            with begin(request_id):
                await asyncio.sleep(0)
                log.info(request_id)

        async def both():
            await asyncio.gather(serve("a"), serve("b"))

        asyncio.run(both())

        assert [(record.request_id, record.msg) for record in kept] == [("a", "a"), ("b", "b")]

    def test_a_record_that_is_made_from_a_dictionary_has_them(self):
        with begin("abc"):
            record = logging.makeLogRecord({"msg": "hello"})

        assert fields(record) == ("abc", "0", "0", False, "shop")

    def test_a_record_that_the_application_makes_itself_has_them(self):
        class Own(logging.LogRecord):
            pass

        with begin("abc"):
            records = [made("shop", logging.INFO, __file__, 1, "hello", (), None) for made in (logging.LogRecord, Own)]

        assert [fields(record) for record in records] == [("abc", "0", "0", False, "shop")] * 2

    def test_a_record_that_comes_from_another_process_keeps_its_own(self):
        with begin("here"):
            record = logging.makeLogRecord({"msg": "hello", "request_id": "there"})

        assert record.request_id == "there"

    def test_a_logger_that_makes_its_records_itself_has_them(self, keeper):
        class Own(logging.Logger):
            def makeRecord(self, *args):
                return logging.LogRecord(*args[:7])

        logger = Own("own")
        logger.addHandler(keeper)
        with begin("abc"):
            logger.info("hello")

        (record,) = keeper.records
        assert record.request_id == "abc"

    def test_the_place_of_the_call_stays_what_it_is(self, log, kept):
        log.info("hello")

        (record,) = kept
        assert (record.filename, record.funcName) == ("test_records.py", "test_the_place_of_the_call_stays_what_it_is")


@pytest.mark.usefixtures("instrumented")
class TestExtras:
    def test_they_are_attributes_while_they_are_pushed(self, log, kept):
        with Context.logging(user="ada"):
            log.info("inside")
        log.info("outside")

        inside, outside = kept
        assert inside.user == "ada"
        assert not hasattr(outside, "user")

    def test_a_format_string_may_name_them(self, lines):
        with Context.logging(user="ada"):
            lines.formatted("%(user)s %(message)s").info("hello")

        assert lines.read() == "ada hello\n"

    @pytest.mark.parametrize("name", ["user", "request_id", "otelTraceID", "otelServiceName"])
    def test_what_the_call_says_hides_what_was_pushed_and_what_is_ours(self, name, log, kept):
        with begin("abc"), Context.logging(user="ada"):
            log.info("hello", extra={name: "mine", "other": 1})

        (record,) = kept
        assert (getattr(record, name), record.other) == ("mine", 1)

    def test_extra_of_the_call_may_be_passed_by_name_to_make_record(self, log):
        with begin("abc"):
            record = log.makeRecord("shop", 20, "file", 1, "hello", (), None, extra={"request_id": "mine"})

        assert record.request_id == "mine"

    @pytest.mark.parametrize("name", ["message", "levelname"])
    def test_logging_still_refuses_names_of_its_own_in_extra(self, name, log):
        with pytest.raises(KeyError, match="overwrite"):
            log.info("hello", extra={name: "x"})

    def test_logging_still_refuses_an_extra_that_is_no_dictionary(self, log):
        with pytest.raises(TypeError):
            log.info("hello", extra=17)

    def test_an_adapter_s_extras_hide_what_is_ours(self, log, kept):
        with begin("abc"):
            logging.LoggerAdapter(log, {"request_id": "mine"}).info("hello")

        (record,) = kept
        assert record.request_id == "mine"

    def test_a_record_of_a_thread_has_what_that_thread_pushed(self, log, kept):
        def work(name):
            with Context.logging(worker=name):
                log.info("hello")

        threads = [Thread(target=work, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
            thread.join()

        assert [record.worker for record in kept] == ["a", "b"]


class TestFactories:
    def test_one_that_the_application_set_before_is_still_used(self, factory, instrument, log, kept):
        class Own(logging.LogRecord):
            pass

        factory(Own)
        instrument()

        with begin("abc"):
            log.info("hello")

        (record,) = kept
        assert isinstance(record, Own)
        assert record.request_id == "abc"

    def test_what_one_that_was_set_before_sets_holds(self, factory, instrument, log, kept):
        def own(*args, **kwargs):
            record = logging.LogRecord(*args, **kwargs)
            record.request_id = "mine"
            return record

        factory(own)
        instrument()

        with begin("abc"):
            log.info("hello")

        (record,) = kept
        assert record.request_id == "mine"

    @pytest.mark.usefixtures("instrumented")
    def test_one_that_is_set_later_on_top_is_used_too(self, factory, log, kept):
        below = logging.getLogRecordFactory()

        def own(*args, **kwargs):
            record = below(*args, **kwargs)
            record.seen = record.request_id
            return record

        factory(own)
        with begin("abc"):
            log.info("hello")

        (record,) = kept
        assert (record.seen, record.request_id) == ("abc", "abc")

    @pytest.mark.usefixtures("instrumented")
    def test_one_that_is_set_later_in_its_place_does_not_take_the_fields_away(self, factory, log, kept):
        factory(logging.LogRecord)

        with begin("abc"):
            log.info("hello")

        (record,) = kept
        assert fields(record) == ("abc", "0", "0", False, "shop")


class TestUninstrument:
    def test_records_are_what_they_were(self, instrument, log, kept):
        before = logging.LogRecord.__init__, logging.Logger.makeRecord
        instrument()

        LoggingInstrumentor().uninstrument()
        log.info("hello")

        assert (logging.LogRecord.__init__, logging.Logger.makeRecord) == before
        assert "request_id" not in kept[0].__dict__

    def test_it_works_under_a_factory_that_came_later(self, factory, instrument, log, kept):
        instrument()
        below = logging.getLogRecordFactory()

        def own(*args, **kwargs):
            record = below(*args, **kwargs)
            record.late = True
            return record

        factory(own)
        LoggingInstrumentor().uninstrument()
        log.info("hello")

        assert kept[0].late
        assert "request_id" not in kept[0].__dict__

    def test_instrumenting_again_works(self, instrument, log, kept):
        instrument()
        LoggingInstrumentor().uninstrument()
        instrument()

        with begin("abc"):
            log.info("hello")

        assert kept[0].request_id == "abc"


class TestQueues:
    @pytest.mark.usefixtures("instrumented")
    def test_a_record_that_goes_through_a_queue_keeps_the_ids_of_its_request(self, lines):
        records = queue.Queue()
        lines.formatted("%(request_id)s %(user)s %(message)s")
        logger = logging.getLogger("queued")
        logger.addHandler(handler := logging.handlers.QueueHandler(records))
        logger.propagate = False
        listener = logging.handlers.QueueListener(records, lines.handler)

        with begin("abc"), Context.logging(user="ada"):
            logger.warning("hello")
        listener.start()
        listener.stop()
        logger.removeHandler(handler)

        assert lines.read() == "abc ada hello\n"


class TestArguments:
    def test_a_hook_is_called_with_the_span_and_the_record(self, instrument, log, kept, tracer):
        def hook(span, record):
            record.span_name = span.name

        instrument(log_hook=hook)
        with tracer.start_as_current_span("checkout"):
            log.info("in a span")
        log.info("in none")

        in_a_span, in_none = kept
        assert in_a_span.span_name == "checkout"
        assert not hasattr(in_none, "span_name")

    def test_a_hook_that_raises_does_not_reach_the_application(self, instrument, log, kept, tracer):
        def hook(span, record):
            raise ZeroDivisionError

        instrument(log_hook=hook)
        with tracer.start_as_current_span("checkout"):
            log.info("hello")

        assert "hello" in [record.msg for record in kept]

    def test_without_a_provider_that_knows_it_the_service_s_name_is_empty(self, instrument, log, kept):
        instrument(tracer_provider=trace.NoOpTracerProvider())

        log.info("hello")

        assert kept[0].otelServiceName == ""

    def test_a_provider_that_is_set_later_gives_the_service_s_name(self, instrument, log, kept, provider):
        class Late(trace.NoOpTracerProvider):
            pass

        late = Late()
        instrument(tracer_provider=late)
        log.info("early")
        late.resource = provider.resource
        log.info("late")

        assert [record.otelServiceName for record in kept] == ["", "shop"]

    def test_the_environment_can_ask_for_a_format(self, instrument, monkeypatch, capsys):
        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", [])
        monkeypatch.setattr(root, "level", root.level)
        monkeypatch.setenv("OTEL_PYTHON_LOG_CORRELATION", "true")
        monkeypatch.setenv("OTEL_PYTHON_LOG_LEVEL", "debug")

        instrument()
        with begin("abc"):
            root.debug("hello")

        assert "[request_id=abc trace_id=0 span_id=0 resource.service.name=shop" in capsys.readouterr().err

    def test_a_wrong_level_is_warned_of_and_info_is_used(self, instrument, monkeypatch, caplog):
        monkeypatch.setenv("OTEL_PYTHON_LOG_LEVEL", "loud")

        instrument(set_logging_format=True)

        (record,) = caplog.records
        assert "OTEL_PYTHON_LOG_LEVEL='loud'" in record.getMessage()

    def test_a_wrong_format_is_warned_of_and_records_get_their_fields(self, instrument, monkeypatch, caplog):
        monkeypatch.setenv("OTEL_PYTHON_LOG_FORMAT", "no field")

        instrument(set_logging_format=True)
        with begin("abc"):
            logging.getLogger("shop").warning("hello")

        wrong, record = caplog.records
        assert "OTEL_PYTHON_LOG_FORMAT='no field' is not usable" in wrong.getMessage()
        assert record.request_id == "abc"


def test_the_instrumentor_is_registered_as_logging():
    (entry_point,) = (
        each
        for each in entry_points(group="opentelemetry_instrumentor", name="logging")
        if each.value.startswith("hopline")
    )

    assert entry_point.load() is LoggingInstrumentor
