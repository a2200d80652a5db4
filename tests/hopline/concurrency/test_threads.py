import asyncio
import gc
import sys
import threading
import weakref
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context as Empty
from contextvars import ContextVar, copy_context
from multiprocessing.pool import ThreadPool
from threading import Barrier, Thread, Timer, current_thread

import pytest
from opentelemetry import trace
from opentelemetry.util._importlib_metadata import entry_points

from hopline import Context
from hopline.concurrency import ThreadingInstrumentor
from hopline.context import begin
from tests.threads import in_thread

variable = ContextVar("variable", default="default")


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def pool():
    pool = ThreadPool(2)
    yield pool
    pool.close()
    pool.join()


def seen(_=None):
    return variable.get()


def changed(_=None):
    before = variable.get()
    variable.set("changed")
    return before


def set_to_something():
    """Sets the variable to something that nobody else has; returns a weak reference to it."""

    class Value:
        pass

    value = Value()
    variable.set(value)
    return weakref.ref(value)


@pytest.mark.usefixtures("instrumented")
class TestThread:
    def test_it_has_the_variables_of_who_starts_it(self):
        variable.set("mine")

        assert in_thread(seen) == "mine"

    def test_it_has_the_request_and_the_span(self):
        span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
        with begin("abc"), Context.logging(user="ada"), trace.use_span(span):
            assert in_thread(lambda: (Context.request_id, dict(Context.logging.extras), trace.get_current_span())) == (
                "abc",
                {"user": "ada"},
                span,
            )

    def test_what_it_sets_stays_in_it(self):
        variable.set("mine")

        in_thread(changed)

        assert variable.get() == "mine"

    def test_a_subclass_with_a_run_of_its_own_has_them(self):
        class Own(Thread):
            def run(self):
                self.seen = variable.get()

        variable.set("mine")
        thread = Own()
        thread.start()
        thread.join()

        assert thread.seen == "mine"

    def test_it_has_those_of_the_moment_when_it_starts(self):
        returned = []
        thread = Thread(target=lambda: returned.append(seen()))
        variable.set("later")
        thread.start()
        thread.join()

        assert returned == ["later"]

    def test_a_timer_has_them(self):
        returned = []
        variable.set("mine")
        timer = Timer(0, lambda: returned.append(seen()))
        timer.start()
        timer.join()

        assert returned == ["mine"]

    def test_a_thread_that_it_starts_has_them(self):
        variable.set("mine")

        assert in_thread(lambda: in_thread(seen)) == "mine"

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="since Python 3.14")
    def test_one_that_is_made_with_a_context_has_that(self):
        variable.set("mine")
        given = Empty()
        thread = Thread(target=lambda: variable.set(f"{seen()}, set"), context=given)
        thread.start()
        thread.join()

        assert given[variable] == "default, set"

    def test_one_that_cannot_start_again_stays_as_it_is(self):
        variable.set("mine")
        thread = Thread(target=seen)
        thread.start()
        thread.join()

        with pytest.raises(RuntimeError, match="once"):
            thread.start()

        assert "run" not in vars(thread)

    def test_one_that_has_a_run_of_its_own_still_has_it_when_it_could_not_start(self, monkeypatch):
        returned = []
        thread = Thread()
        thread.run = lambda: returned.append(seen())
        variable.set("mine")
        with monkeypatch.context() as patch:
            name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
            patch.setattr(threading, name, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                thread.start()

        thread.start()
        thread.join()
        thread.run()

        assert returned == ["mine", "mine"]

    def test_a_subclass_that_lets_nobody_set_its_run_has_them(self):
        class Closed(Thread):
            def __setattr__(self, name, value):
                if name == "run":
                    raise AttributeError(name)
                super().__setattr__(name, value)

        variable.set("mine")

        assert in_thread(seen, Closed) == "mine"

    def test_an_error_in_it_is_told_as_ever(self, monkeypatch):
        told = []
        monkeypatch.setattr("threading.excepthook", lambda args: told.append(args.exc_type))
        variable.set("mine")

        thread = Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

        assert told == [ZeroDivisionError]

    def test_it_runs_under_a_patch_of_start_that_looks_for_the_function_of_run(self, monkeypatch):
        start = Thread.start

        def patched(self):
            run = getattr(self.run, "__func__", self.run)
            self.run = lambda: run(self)
            start(self)

        monkeypatch.setattr(Thread, "start", patched)
        variable.set("mine")

        assert in_thread(seen) == "mine"

    def test_a_thread_that_has_ended_keeps_nothing_alive(self):
        def start():
            thread = Thread(target=seen)
            value = set_to_something()
            thread.start()
            thread.join()
            return thread, value

        thread, value = copy_context().run(start)
        gc.collect()

        assert (thread.is_alive(), value()) == (False, None)

    def test_nor_does_one_whose_run_somebody_has_wrapped_before(self, instrumentor, monkeypatch):
        instrumentor.uninstrument()
        start = Thread.start

        def patched(self):
            run = getattr(self.run, "__func__", self.run)
            self.run = lambda: run(current_thread())
            start(self)

        monkeypatch.setattr(Thread, "start", patched)
        instrumentor.instrument()

        def begin_and_end():
            thread = Thread(target=seen)
            value = set_to_something()
            thread.start()
            thread.join()
            return value, thread, weakref.ref(thread)

        gc.disable()
        try:
            value, thread, reference = copy_context().run(begin_and_end)
            while_known = value()
            del thread
            afterwards = reference()
        finally:
            gc.enable()
            instrumentor.uninstrument()

        assert (while_known, afterwards) == (None, None)


@pytest.mark.usefixtures("instrumented")
class TestExecutor:
    def test_work_has_the_variables_of_who_submits_it(self, executor):
        variable.set("mine")

        assert executor.submit(seen).result() == "mine"

    def test_each_work_has_those_of_its_own_submitter(self, executor):
        def submit(value):
            variable.set(value)
            return executor.submit(seen).result()

        assert [copy_context().run(submit, value) for value in ("a", "b")] == ["a", "b"]

    def test_map_has_them(self, executor):
        variable.set("mine")

        assert list(executor.map(seen, range(3))) == ["mine", "mine", "mine"]

    def test_what_work_sets_stays_in_it(self, executor):
        variable.set("mine")

        assert [executor.submit(changed).result() for _ in range(2)] == ["mine", "mine"]

    def test_work_of_somebody_without_variables_sees_none_of_the_first_submitter(self, executor):
        variable.set("first")
        executor.submit(seen).result()

        assert Empty().run(lambda: executor.submit(seen).result()) == "default"

    def test_its_threads_keep_nothing_of_the_first_submitter_alive(self, executor):
        def submit():
            value = set_to_something()
            executor.submit(seen).result()
            return value

        value = copy_context().run(submit)
        executor.submit(seen).result()
        gc.collect()

        assert value() is None

    def test_its_initializer_runs_outside_of_any_request(self):
        values = []
        with begin("abc"), ThreadPoolExecutor(1, initializer=lambda: values.append(Context.request_id)) as executor:
            executor.submit(seen).result()

        assert values == [None]

    def test_arguments_results_and_errors_are_what_they_were(self, executor):
        variable.set("mine")

        def work(a, *, b):
            return a / b

        assert executor.submit(work, 1, b=2).result() == 0.5
        with pytest.raises(ZeroDivisionError):
            executor.submit(work, 1, b=0).result()

    def test_submitting_nothing_is_refused_as_ever(self, executor):
        variable.set("mine")

        with pytest.raises(TypeError):
            executor.submit()

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="since Python 3.14")
    def test_one_of_interpreters_is_given_nothing_that_cannot_be_pickled(self):
        from concurrent.futures import InterpreterPoolExecutor

        variable.set("mine")

        with InterpreterPoolExecutor(1) as executor:
            assert executor.submit(divmod, 7, 2).result() == (3, 1)

    def test_an_executor_of_the_application_s_own_is_left_alone(self):
        class Own(Executor):
            def submit(self, function, /, *args, **kwargs):
                return function

        variable.set("mine")

        assert Own().submit(seen) is seen

    def test_a_loop_s_default_executor_has_them(self):
        async def main():
            variable.set("mine")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, seen), await asyncio.to_thread(seen)

        assert asyncio.run(main()) == ("mine", "mine")


@pytest.mark.usefixtures("instrumented")
class TestThreadPool:
    @pytest.mark.parametrize(
        "call",
        [
            lambda pool: [pool.apply(seen)],
            lambda pool: [pool.apply_async(seen).get()],
            lambda pool: [pool.apply_async(func=seen).get()],
            lambda pool: pool.map(seen, [1]),
            lambda pool: pool.map_async(seen, [1]).get(),
            lambda pool: pool.starmap(seen, [(1,)]),
            lambda pool: pool.starmap_async(seen, [(1,)]).get(),
            lambda pool: list(pool.imap(seen, [1])),
            lambda pool: list(pool.imap_unordered(seen, [1])),
        ],
        ids=[
            "apply",
            "apply_async",
            "by name",
            "map",
            "map_async",
            "starmap",
            "starmap_async",
            "imap",
            "imap_unordered",
        ],
    )
    def test_work_has_the_variables_of_who_submits_it(self, call, pool):
        variable.set("mine")

        assert call(pool) == ["mine"]

    def test_work_at_the_same_time_has_them_too(self, pool):
        both = Barrier(2)

        def meet(_):
            both.wait(10)
            return variable.get()

        variable.set("mine")

        assert pool.map(meet, [1, 2], chunksize=1) == ["mine", "mine"]

    def test_what_work_sets_stays_in_it(self, pool):
        variable.set("mine")

        assert pool.map(changed, [1, 2, 3], chunksize=1) == ["mine", "mine", "mine"]

    def test_its_threads_keep_nothing_of_who_made_it_alive(self):
        def make():
            value = set_to_something()
            return ThreadPool(1), value

        pool, value = copy_context().run(make)
        gc.collect()
        alive = value()
        pool.close()
        pool.join()

        assert alive is None

    def test_submitting_nothing_is_refused_as_ever(self, pool):
        variable.set("mine")

        with pytest.raises(TypeError):
            pool.map()


class TestUninstrument:
    def test_nothing_is_carried_any_more(self, instrumentor, executor, pool):
        instrumentor.uninstrument()
        variable.set("mine")

        assert (in_thread(seen), executor.submit(seen).result(), pool.apply(seen)) == ("default", "default", "default")

    def test_what_was_patched_is_what_it_was(self):
        before = (Thread.start, ThreadPoolExecutor.submit, ThreadPool.map)
        instrumentor = ThreadingInstrumentor()
        instrumentor.instrument()
        instrumentor.uninstrument()

        assert (Thread.start, ThreadPoolExecutor.submit, ThreadPool.map) == before


@pytest.mark.parametrize("name", ["threading", "gevent", "eventlet"])
def test_each_instrumentor_is_registered_under_its_name(name):
    values = [each.value for each in entry_points(group="opentelemetry_instrumentor", name=name)]

    assert f"hopline.concurrency:{name.capitalize()}Instrumentor" in values
