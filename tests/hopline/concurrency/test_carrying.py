"""What goes along with work that is given away, and what does not."""

import decimal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from threading import Barrier, Thread
from types import ModuleType

import pytest

from hopline import Context
from hopline.concurrency import ThreadingInstrumentor
from hopline.context import begin
from tests.threads import in_thread

variable = ContextVar("variable", default="default")


@pytest.fixture(autouse=True)
def instrumented():
    ThreadingInstrumentor().instrument()
    yield
    ThreadingInstrumentor().uninstrument()


def in_executor(function):
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result()


def in_pool(function):
    with ThreadPool(1) as pool:
        return pool.apply(function)


everywhere = pytest.mark.parametrize("away", [in_thread, in_executor, in_pool])


@everywhere
class TestWork:
    def test_has_no_request_that_has_been_cleared(self, away, tracer):
        Context.new("abc")
        with tracer.start_as_current_span("span"):
            Context.clear()

        assert away(lambda: Context.request_id) is None


@everywhere
class TestArithmetic:
    def test_what_work_sets_does_not_reach_who_gives_it_away(self, away):
        before = decimal.getcontext().prec
        with begin("abc"):
            away(lambda: setattr(decimal.getcontext(), "prec", 3))

        assert decimal.getcontext().prec == before

    def test_work_begins_with_that_of_any_thread(self, away):
        with begin("abc"), decimal.localcontext() as context:
            context.prec = 3

            assert away(lambda: decimal.getcontext().prec) == decimal.DefaultContext.prec


def test_work_that_runs_at_the_same_time_has_an_arithmetic_of_its_own():
    decimal.getcontext()
    both = Barrier(2)

    def third(precision):
        decimal.getcontext().prec = precision
        both.wait(10)
        return str(Decimal(1) / 3)

    with begin("abc"), ThreadPool(2) as pool:
        assert pool.map(third, [3, 5], chunksize=1) == ["0.333", "0.33333"]


def test_what_asgiref_before_3_12_keeps_for_each_thread_is_each_thread_s(monkeypatch):
    monkeypatch.setitem(sys.modules, "asgiref.local", ModuleType("asgiref.local"))
    language = ContextVar("asgiref.local")
    language.set({"value": "de"})

    with begin("abc"):
        assert in_thread(language.get) == {}


@pytest.mark.parametrize("module", ["loky.process_executor", "joblib.externals.loky.process_executor"])
def test_a_thread_that_manages_loky_s_processes_works_for_nobody_in_particular(module):
    manager = type("_ExecutorManagerThread", (Thread,), {"__module__": module})

    with begin("abc"):
        assert in_thread(lambda: Context.request_id, manager) is None
