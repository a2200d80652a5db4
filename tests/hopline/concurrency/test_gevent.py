import json

import pytest

PROGRAM = """
import json, sys
from contextvars import Context, ContextVar

from hopline.concurrency import GeventInstrumentor

{early}
GeventInstrumentor().instrument()
import gevent
import gevent.pool
from gevent.threadpool import ThreadPoolExecutor

variable = ContextVar("variable", default="default")
raw = []


def seen(_=None):
    return variable.get()


def changed(_=None):
    before = variable.get()
    variable.set("changed")
    return before


def made(greenlet):
    greenlet.start()
    return greenlet.get()


def spawned_raw():
    raw.clear()
    gevent.spawn_raw(lambda: raw.append(seen()))
    gevent.sleep(0.01)
    return raw[0]


def with_a_context_of_its_own():
    greenlet = gevent.Greenlet(seen)
    greenlet.gr_context = Context()
    greenlet.gr_context.run(variable.set, "its own")
    return made(greenlet)


class Own(gevent.Greenlet):
    def _run(self):
        return seen()


pool = gevent.pool.Pool(2)
threads = gevent.get_hub().threadpool
executor = ThreadPoolExecutor(1)
ways = {{
    "spawn": lambda: gevent.spawn(seen).get(),
    "spawn_later": lambda: gevent.spawn_later(0, seen).get(),
    "spawn_raw": spawned_raw,
    "Greenlet": lambda: made(gevent.Greenlet(seen)),
    "subclass": lambda: made(Own()),
    "subclass.spawn": lambda: Own.spawn().get(),
    "nested": lambda: gevent.spawn(lambda: gevent.spawn(seen).get()).get(),
    "pool.spawn": lambda: pool.spawn(seen).get(),
    "pool.map": lambda: pool.map(seen, [1])[0],
    "pool.imap": lambda: list(pool.imap(seen, [1]))[0],
    "pool.imap_unordered": lambda: list(pool.imap_unordered(seen, [1]))[0],
    "pool.apply_async": lambda: pool.apply_async(seen).get(),
    "pool.map_async": lambda: pool.map_async(seen, [1]).get()[0],
    "threadpool.apply": lambda: threads.apply(seen),
    "threadpool.spawn": lambda: threads.spawn(seen).get(),
    "threadpool.imap": lambda: list(threads.imap(seen, [1]))[0],
    "ThreadPoolExecutor": lambda: executor.submit(seen).result(),
}}
without = {{name: way() for name, way in ways.items()}}
variable.set("mine")
told = {{
    "without": without,
    "with": {{name: way() for name, way in ways.items()}},
    "its own": with_a_context_of_its_own(),
    "set": [gevent.spawn(changed).get(), threads.apply(changed), seen()],
}}
GeventInstrumentor().uninstrument()
told["uninstrumented"] = {{name: way() for name, way in ways.items()}}
print(json.dumps(told))
"""

WAYS = [
    "spawn",
    "spawn_later",
    "spawn_raw",
    "Greenlet",
    "subclass",
    "subclass.spawn",
    "nested",
    "pool.spawn",
    "pool.map",
    "pool.imap",
    "pool.imap_unordered",
    "pool.apply_async",
    "pool.map_async",
    "threadpool.apply",
    "threadpool.spawn",
    "threadpool.imap",
    "ThreadPoolExecutor",
]


@pytest.fixture(
    scope="module",
    params=["", "import gevent, gevent.pool, gevent.threadpool", "from gevent import monkey; monkey.patch_all()"],
    ids=["imported later", "imported before", "patched before"],
)
def told(request, run_python):
    return json.loads(run_python(PROGRAM.format(early=request.param)))


@pytest.mark.parametrize("way", WAYS)
def test_work_has_the_variables_of_who_spawns_it(way, told):
    assert told["with"][way] == "mine"


def test_work_has_none_where_there_are_none(told):
    assert set(told["without"].values()) == {"default"}


def test_what_work_sets_stays_in_it(told):
    assert told["set"] == ["mine", "mine", "mine"]


def test_a_context_that_the_application_gave_a_greenlet_stays(told):
    assert told["its own"] == "its own"


def test_nothing_is_carried_after_uninstrumenting(told):
    assert set(told["uninstrumented"].values()) == {"default"}


REQUESTS = """
import sys

{early}
from hopline import Context
from hopline.concurrency import GeventInstrumentor
from hopline.context import begin
from hopline.requests import RequestsInstrumentor

GeventInstrumentor().instrument()
RequestsInstrumentor().instrument()

import grequests
from opentelemetry import propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline.propagators import RequestIdPropagator

propagate.set_global_textmap(CompositePropagator([TraceContextTextMapPropagator(), RequestIdPropagator()]))
trace.set_tracer_provider(TracerProvider())

with begin("abc"), trace.get_tracer("test").start_as_current_span("request") as span:
    answers = grequests.map([grequests.get("{url}/%d" % number) for number in range(10)], size=5)
    print([answer.status_code for answer in answers])
    print(f"{{span.get_span_context().trace_id:032x}}")
"""


def test_each_request_of_grequests_carries_the_id_and_the_trace_of_its_request(server, run_python):
    statuses, trace_id = run_python(REQUESTS.format(url=server.url, early="")).splitlines()

    assert statuses == str([200] * 10)
    ids, parents = server.header("X-Request-Id"), server.header("traceparent")
    spans = {parent.split("-")[2] for parent in parents}
    assert {parent.split("-")[1] for parent in parents} == {trace_id}
    assert len(spans) == 10
    assert set(ids) == {f"{span}-abc" for span in spans}
