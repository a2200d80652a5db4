import threading
from contextvars import ContextVar
from time import monotonic, sleep

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hopline import late_threads
from hopline.late_threads import LateThreads
from hopline.processor import RequestIdSpanProcessor
from tests.collector import Collector
from tests.programs import environment, instrumented, run


@pytest.fixture
def held():
    """A provider with a batch processor, whose thread is held back."""
    provider = TracerProvider(shutdown_on_exit=False)
    with LateThreads() as late:
        provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    yield late, provider
    late.begin()
    provider.shutdown()


def is_begun():
    return any(thread.name.startswith("Otel") for thread in threading.enumerate())


def test_a_thread_of_the_sdk_waits(held):
    assert not is_begun()


def test_a_thread_that_comes_while_those_that_wait_begin_does_not_wait(held, monkeypatch):
    late, _ = held
    begun, make = threading.Event(), late_threads.partial

    def make_while_they_begin(*arguments):
        made = make(*arguments)
        late.begin()
        return made

    monkeypatch.setattr(late_threads, "partial", make_while_they_begin)
    threading.Thread(target=begun.set, name="OtelLast").start()
    monkeypatch.undo()

    assert begun.wait(10)


def test_other_threads_do_not():
    with LateThreads():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()

    assert not thread.is_alive()


def test_a_first_span_begins_it(held):
    late, provider = held
    processor = RequestIdSpanProcessor()
    provider.add_span_processor(processor)
    late.begin_at_first_span(processor)

    provider.get_tracer("test").start_span("first").end()

    assert is_begun()


def test_it_begins_in_the_context_of_nobody(held, monkeypatch):
    late, _ = held
    seen = []
    variable = ContextVar("variable", default="default")
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (seen.append(variable.get()), start(thread)))
    variable.set("mine")

    late.begin()

    assert seen == ["default"]


def test_shutting_down_begins_it(held):
    _, provider = held

    provider.shutdown()

    assert not is_begun()


def test_it_begins_by_itself_after_a_while(monkeypatch):
    monkeypatch.setattr(late_threads, "_LATEST", 0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    with LateThreads():
        provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))

    deadline = monotonic() + 30
    while not is_begun() and monotonic() < deadline:
        sleep(0.001)
    begun = is_begun()
    provider.shutdown()

    assert begun


def test_threads_that_the_sdk_starts_later_begin_at_once(held):
    late, _ = held
    late.begin()
    processor = BatchSpanProcessor(InMemorySpanExporter())

    thread = processor._batch_processor._worker_thread
    alive = thread.is_alive()
    processor.shutdown()

    assert alive


def test_a_process_that_ends_at_once_exports_what_it_has_and_says_nothing():
    program = "from opentelemetry import metrics; metrics.get_meter('tests').create_counter('runs').add(1)"

    with Collector() as collector:
        settings = environment(
            collector.endpoint, OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf"
        )
        finished = run(instrumented("-c", program), settings)
        collector.wait_for_metric("tests", "runs", 1)

    assert finished.stderr == ""


def test_what_is_left_to_a_thread_that_cannot_begin_is_done_by_who_waits_for_it(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    with LateThreads() as late:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("tests").start_span("left").end()
    monkeypatch.setattr(threading.Thread, "start", refuse)

    late.begin()
    provider.shutdown()

    assert [span.name for span in exporter.get_finished_spans()] == ["left"]
