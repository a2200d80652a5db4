"""What goes along with work that is given away, and what does not."""

import asyncio
import decimal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from decimal import Decimal
from multiprocessing.pool import ThreadPool
from threading import Barrier, Thread
from types import ModuleType

import anyio
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async

from hopline import Context
from hopline.context import begin
from tests.threads import in_thread

pytestmark = pytest.mark.usefixtures("instrumented")

variable = ContextVar("variable", default="default")


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

    def test_is_done_also_where_it_cannot_say_of_what_module_it_is(self, away):
        class Proxy:
            @property
            def __module__(self):
                raise RuntimeError("outside of a request")

            def __call__(self):
                return "done"

        with begin("abc"):
            assert away(Proxy()) == "done"


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


def test_a_thread_begins_under_an_arithmetic_of_the_application_s_own_class():
    class Digits(decimal.Context):
        def __new__(cls, digits):
            return super().__new__(cls, prec=digits)

    with decimal.localcontext(), begin("abc"):
        decimal.setcontext(Digits(3))

        assert in_thread(lambda: decimal.getcontext().prec) == decimal.DefaultContext.prec


def test_what_asgiref_before_3_12_keeps_for_each_thread_is_each_thread_s(monkeypatch):
    monkeypatch.setitem(sys.modules, "asgiref.local", ModuleType("asgiref.local"))
    language = ContextVar("asgiref.local")
    language.set({"value": "de"})

    with begin("abc"):
        assert in_thread(lambda: language.get(None)) is None


@pytest.mark.parametrize("name", ["gmpy2_context", "numpy.ufunc.extobj"])
def test_how_numbers_are_counted_with_is_each_thread_s(name):
    counting = ContextVar(name, default="as in any thread")
    counting.set("as in the main one")

    with begin("abc"):
        assert in_thread(counting.get) == "as in any thread"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_thread_has_no_event_loop_of_anyio_s_but_its_own(backend):
    async def main():
        return in_thread(lambda: anyio.run(anyio.sleep, 0) or "ran")

    assert anyio.run(main, backend=backend) == "ran"


@pytest.mark.parametrize("away", [in_thread, in_executor])
def test_work_of_a_synchronous_view_may_call_synchronous_code_from_a_loop_of_its_own(away):
    async def ask():
        return await sync_to_async(lambda: (Context.request_id, "row"))()

    def view():
        return away(lambda: asyncio.run(asyncio.wait_for(ask(), 10)))

    async def serve():
        async with ThreadSensitiveContext():
            return await sync_to_async(view)()

    with begin("abc"):
        assert asyncio.run(serve()) == ("abc", "row")


def test_work_of_synchronous_code_may_wait_for_asgiref_s_thread():
    async def ask():
        return await sync_to_async(lambda: "row")()

    def start():
        return ThreadPoolExecutor(1).submit(lambda: asyncio.run(ask()))

    async def main():
        return await asyncio.wrap_future(await sync_to_async(start)())

    assert asyncio.run(main()) == "row"


@pytest.mark.parametrize("module", ["loky.process_executor", "joblib.externals.loky.process_executor"])
def test_a_thread_that_manages_loky_s_processes_works_for_nobody_in_particular(module):
    manager = type("_ExecutorManagerThread", (Thread,), {"__module__": module})

    with begin("abc"):
        assert in_thread(lambda: Context.request_id, manager) is None
