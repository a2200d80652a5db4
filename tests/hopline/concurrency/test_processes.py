import json
import os
import sys
import textwrap

import pytest

from tests import programs
from tests.collector import spans_received

PROGRAM = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hopline import Context
from hopline.concurrency import ThreadingInstrumentor
from hopline.context import begin

variable = ContextVar("variable", default="default")

provider = TracerProvider()
if len(sys.argv) > 2:
    # What is not flushed at the end is never sent.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(sys.argv[2]), schedule_delay_millis=3_600_000))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("test")


def work(argument=None):
    with tracer.start_as_current_span("work"):
        pass
    deadline = Context.deadline
    return (
        Context.request_id,
        f"{trace.get_current_span().get_span_context().trace_id:032x}",
        deadline and deadline.isoformat(),
        argument,
    )


def fail():
    raise KeyError("k")


def main():
    ThreadingInstrumentor().instrument()
    told = {}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as executor:
        told["outside"] = executor.submit(work).result()
        with begin("abc"), tracer.start_as_current_span("request") as span:
            Context.set_absolute_deadline(1896091200)
            told["trace"] = f"{span.get_span_context().trace_id:032x}"
            told["submitted"] = executor.submit(work, argument=1).result()
            told["mapped"] = list(executor.map(work, [1, 2]))
            try:
                executor.submit(fail).result()
            except KeyError as error:
                told["error"] = repr(error)
        told["afterwards"] = executor.submit(work).result()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
"""

DEADLINE = "2030-01-31T12:00:00+00:00"


def run(tmp_path, *arguments, **variables):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    finished = programs.run([sys.executable, str(program), *arguments], {**os.environ, **variables})
    assert "hopline" not in finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module", params=["fork", "spawn"])
def told(request, tmp_path_factory):
    return run(tmp_path_factory.mktemp("processes"), request.param)


def test_work_has_the_ids_and_the_deadline_of_who_submits_it(told):
    assert told["submitted"] == ["abc", told["trace"], DEADLINE, 1]


def test_map_has_them(told):
    assert told["mapped"] == [["abc", told["trace"], DEADLINE, number] for number in (1, 2)]


def test_work_that_no_request_submits_has_none(told):
    assert told["outside"] == told["afterwards"] == [None, f"{0:032x}", None, None]


def test_an_error_is_raised_as_ever(told):
    assert told["error"] == "KeyError('k')"


def test_the_spans_of_a_forked_worker_are_sent_when_it_ends(tmp_path, server):
    told = run(tmp_path, "fork", f"{server.url}/v1/traces")

    traces = [span.trace_id for span in spans_received(server) if span.name == "work"]
    assert len(traces) == 5
    assert traces.count(told["trace"]) == 3


CHILDREN = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hopline.concurrency import ThreadingInstrumentor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(sys.argv[2]), schedule_delay_millis=3_600_000))
trace.set_tracer_provider(provider)


def work():
    with trace.get_tracer("test").start_as_current_span("work"):
        pass


ThreadingInstrumentor().instrument()
context = multiprocessing.get_context("fork")
if sys.argv[1] == "process":
    process = context.Process(target=work)
    process.start()
    process.join()
elif sys.argv[1] == "pool":
    pool = context.Pool(1)
    pool.apply(work)
    pool.close()
    pool.join()
else:
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(work).result()
"""


@pytest.mark.parametrize("kind", ["process", "pool", "executor"])
def test_the_spans_of_a_forked_process_that_no_request_gives_work_are_sent_when_it_ends(kind, server):
    programs.run([sys.executable, "-c", CHILDREN, kind, f"{server.url}/v1/traces"], os.environ)

    assert [span.name for span in spans_received(server)] == ["work"]


def test_a_pool_can_be_left_while_the_collector_does_not_answer(tmp_path, silent_endpoint):
    told = run(tmp_path, "fork", f"{silent_endpoint}/v1/traces", OTEL_EXPORTER_OTLP_TIMEOUT="3600")

    assert told["submitted"][0] == "abc"


LAZY = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from hopline import Context
from hopline.concurrency import ThreadingInstrumentor
from hopline.context import begin

variable = ContextVar("variable", default="default")


def seen():
    return Context.request_id, trace.get_current_span().get_span_context().is_valid, variable.get()


ThreadingInstrumentor().instrument()
variable.set("the application's")
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
    with begin("first"), trace.use_span(NonRecordingSpan(SpanContext(1, 1, is_remote=False))):
        print("first", *executor.submit(seen).result())
    print("afterwards", *executor.submit(seen).result())
"""


@pytest.fixture(scope="module")
def lazy_told():
    return programs.run([sys.executable, "-c", LAZY], os.environ).stdout.splitlines()


def test_a_worker_that_is_forked_within_a_request_has_nothing_of_it_for_work_of_no_request(lazy_told):
    assert lazy_told == ["first first True the application's", "afterwards None False the application's"]


POOL = """
import multiprocessing

from hopline import Context
from hopline.concurrency import ThreadingInstrumentor


def seen():
    return Context.request_id


ThreadingInstrumentor().instrument()
Context.new("first")
with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    told = []
    work = pool.apply_async(seen, callback=lambda _: told.append(seen()))
    print("worker", work.get())
    print("callback", *told)
    print("next worker", pool.apply(seen))
"""


@pytest.fixture(scope="module")
def pool_told():
    # Not measured: where a thread of the pool forks while another one holds coverage's lock, the child waits for ever.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return programs.run([sys.executable, "-c", POOL], unmeasured).stdout.splitlines()


def test_a_forked_worker_of_multiprocessing_s_pool_has_what_it_was_forked_in(pool_told):
    assert "worker first" in pool_told


def test_the_callbacks_of_multiprocessing_s_pool_have_nothing_of_who_made_it(pool_told):
    assert "callback None" in pool_told


def test_a_worker_that_takes_another_s_place_has_nothing_of_who_made_the_pool(pool_told):
    assert "next worker None" in pool_told
