"""What goes along with work that is given away, and what does not."""

import asyncio
import decimal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context as Empty
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


@pytest.fixture
def scope(monkeypatch):
    """A scope as Sentry's SDK keeps it, which is not installed for this."""
    module = ModuleType("sentry_sdk.scope")
    module._isolation_scope = ContextVar("isolation_scope")
    monkeypatch.setitem(sys.modules, "sentry_sdk.scope", module)
    return module._isolation_scope


@pytest.fixture
def forking(scope, instrumentor, monkeypatch):
    """The same, where Sentry's SDK gives each thread and each work of an executor a fork, patched before hopline."""
    instrumentor.uninstrument()
    start, submit = Thread.start, ThreadPoolExecutor.submit

    def forked(function):
        fork = f"a fork of {scope.get('nobody')}"

        def run():
            scope.set(fork)
            return function()

        return run

    def patched_start(thread):
        run = getattr(thread.run, "__func__", thread.run)
        thread.run = forked(lambda: run(thread))
        start(thread)

    monkeypatch.setattr(Thread, "start", patched_start)
    monkeypatch.setattr(
        ThreadPoolExecutor, "submit", lambda self, work, *args: submit(self, forked(lambda: work(*args)))
    )
    instrumentor.instrument()
    yield scope
    instrumentor.uninstrument()


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


@pytest.mark.parametrize(
    "name", ["__scout_trackedrequest", "bugsnag-breadcrumbs", "bugsnag-client-context", "sentry_current_hub"]
)
def test_what_another_agent_changes_in_place_is_each_thread_s(name):
    changed = ContextVar(name, default="as in any thread")
    changed.set("as in the main one")

    with begin("abc"):
        assert in_thread(changed.get) == "as in any thread"


@everywhere
class TestScopesOfSentryS:
    def test_are_each_thread_s(self, away, scope):
        scope.set("the main one's")

        with begin("abc"):
            assert away(lambda: (Context.request_id, scope.get("of its own"))) == ("abc", "of its own")

    def test_are_carried_by_sentry_where_it_has_patched_before(self, away, forking):
        forking.set("the request's")

        with begin("abc"):
            assert away(lambda: (Context.request_id, forking.get())) == ("abc", "a fork of the request's")

    def test_are_no_variables_of_the_application_s(self, away):
        current_scope = ContextVar("current_scope")
        current_scope.set("mine")

        assert away(current_scope.get) == "mine"


@pytest.mark.parametrize("pool_class", [ThreadPoolExecutor, ThreadPool])
class TestWhatTheInitializerOfAPoolHasSet:
    def in_initialized(self, pool_class, initializer, function):
        with begin("abc"), pool_class(1, initializer=initializer) as pool:
            return pool.submit(function).result() if pool_class is ThreadPoolExecutor else pool.apply(function)

    def test_is_there_in_the_work(self, pool_class):
        assert self.in_initialized(pool_class, lambda: variable.set("the pool's"), variable.get) == "the pool's"

    def test_does_not_hide_what_the_submitter_has(self, pool_class):
        variable.set("mine")

        assert self.in_initialized(pool_class, lambda: variable.set("the pool's"), variable.get) == "mine"

    def test_holds_for_arithmetic(self, pool_class):
        def third():
            return str(Decimal(1) / 3)

        with decimal.localcontext():
            returned = self.in_initialized(pool_class, lambda: setattr(decimal.getcontext(), "prec", 3), third)

        assert returned == "0.333"

    def test_is_nothing_of_a_request(self, pool_class):
        assert self.in_initialized(pool_class, lambda: Context.new("first"), lambda: Context.request_id) == "abc"


def test_a_request_that_work_without_one_has_left_in_a_pool_s_thread_is_not_that_of_other_work():
    with ThreadPoolExecutor(1) as executor:
        Empty().run(lambda: executor.submit(Context.new, "left").result())
        variable.set("mine")

        assert executor.submit(lambda: Context.request_id).result() is None


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
