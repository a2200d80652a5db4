"""What several threads bring is worked off by one at a time; none of them waits, and nothing is left behind."""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from contextlib import suppress

import pytest

from hopline import _combining, _guard, _locks
from hopline._combining import Combiner
from tests.forks import exit_code_of_a_child
from tests.signals import TimeIsUp

PATIENCE = 30  # seconds, until a test that hangs fails


@pytest.fixture
def at_work():
    """A combiner that notes what is brought, and a thread that is at work in it until the last is called."""
    done, arrived, go_on = [], threading.Event(), threading.Event()

    def work(brought):
        for number in brought:
            if number == 0:
                arrived.set()
                go_on.wait(PATIENCE)
            done.append(number)

    combiner = Combiner(work)
    thread = threading.Thread(target=bring_now, args=(combiner, 0))
    thread.start()
    arrived.wait(PATIENCE)

    def end():
        go_on.set()
        thread.join(PATIENCE)

    yield combiner, done, end
    end()


def bring_now(combiner, work):
    combiner.bring(work, at_once=True)


def in_time(function):
    """Call a function in a thread, and say whether it returned."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def test_what_is_brought_waits_until_enough_does():
    done = []
    combiner = Combiner(done.extend)

    for number in range(_combining._BATCH - 1):
        combiner.bring(number)
    before = list(done)
    combiner.bring("the last")

    assert before == []
    assert done == [*range(_combining._BATCH - 1), "the last"]


def test_what_is_brought_for_now_is_done_at_once_and_what_waits_before_it():
    done = []
    combiner = Combiner(done.extend)

    combiner.bring(1)
    combiner.bring(2, at_once=True)

    assert done == [1, 2]


def test_who_finds_somebody_at_work_leaves_it_to_them(at_work):
    combiner, done, end = at_work

    returned = in_time(lambda: bring_now(combiner, 1))
    before = list(done)
    end()

    assert returned
    assert before == []
    assert done == [0, 1]


def test_what_comes_after_the_last_look_is_worked_off_too():
    class Slow:
        """A lock whose owner has seen that nothing waits, when somebody else still finds it locked."""

        def __init__(self):
            self.late = [2]

        def _is_owned(self):
            return False

        def acquire(self, blocking=True, timeout=None):
            return timeout is None

        def release(self):
            if self.late:
                combiner._waiting.append(self.late.pop())

    done = []
    combiner = Combiner(done.extend)
    combiner._at_work = Slow()

    bring_now(combiner, 1)

    assert done == [1, 2]


def settle(combiner, work):
    combiner.bring(work)
    combiner.settle()


@pytest.mark.parametrize("work_off", [bring_now, settle])
def test_what_is_brought_while_one_works_is_done_after_it(work_off):
    done = []

    def work(brought):
        for number in brought:
            if number == 1:
                bring_now(combiner, 2)
            done.append(number)

    combiner = Combiner(work)

    work_off(combiner, 1)

    assert done == [1, 2]


def test_to_settle_waits_for_nobody(at_work):
    combiner, done, _ = at_work
    combiner.bring(1)

    returned = in_time(combiner.settle)

    assert returned
    assert done == [1]


def test_an_error_is_counted_and_stops_nothing():
    done = []

    def work(brought):
        done.extend(10 // number for number in brought)

    combiner = Combiner(work)
    for number in (1, 0, 2):
        combiner.bring(number)

    combiner.settle()

    assert done == [10, 5]
    assert list(_guard.stopped_errors().values()) == [1]


def test_who_looks_for_what_somebody_else_has_just_taken_goes_on():
    class Taken(deque):
        def popleft(self):
            self.clear()
            return super().popleft()

    combiner = Combiner(list)
    combiner._waiting = Taken([1])

    combiner.settle()

    assert not combiner._waiting


def test_no_more_waits_than_one_thread_can_follow():
    waiting = []
    combiner = Combiner(lambda brought: waiting.extend(len(combiner._waiting) for _ in brought))

    def bring():
        for _ in range(20_000):
            combiner.bring(None)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    combiner.settle()

    assert len(waiting) == 80_000
    assert max(waiting) < 10 * _combining._MANY


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_process_begins_anew(at_work):
    combiner, done, _ = at_work
    combiner.bring(1)

    def bring_in_the_child():
        done.clear()
        bring_now(combiner, 7)
        return done[0] if len(done) == 1 else 1

    assert exit_code_of_a_child(bring_in_the_child) == 7


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_what_waits_is_worked_off_before_a_fork_and_by_the_parent_alone():
    done = []
    combiner = Combiner(done.extend)
    combiner.bring(1)

    code = exit_code_of_a_child(lambda: len(combiner._waiting))

    assert code == 0
    assert done == [1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_within_a_finalizer_waits_for_no_work():
    done, codes = [], []
    combiner = Combiner(done.extend)
    combiner.bring(1)

    class Dropped:
        def __del__(self):
            codes.append(exit_code_of_a_child(lambda: len(combiner._waiting)))

    dropped = Dropped()
    dropped.itself = dropped
    del dropped
    gc.collect()

    assert codes == [0]
    assert done == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_waits_for_the_thread_that_is_at_work(monkeypatch):
    monkeypatch.setattr(_locks, "_PATIENCE", PATIENCE)
    theirs, arrived, go_on = threading.Lock(), threading.Event(), threading.Event()

    def work(brought):
        for _ in brought:
            with theirs:
                arrived.set()
                go_on.wait(PATIENCE)

    combiner = Combiner(work)
    thread = threading.Thread(target=bring_now, args=(combiner, None))
    thread.start()
    arrived.wait(PATIENCE)
    threading.Timer(0.05, go_on.set).start()

    code = exit_code_of_a_child(lambda: 1 if theirs.locked() else 0)
    thread.join(PATIENCE)
    bring_now(combiner, None)

    assert code == 0
    assert not combiner._waiting


def test_what_a_finalizer_brings_while_garbage_is_collected_is_left_to_the_next():
    done = []
    combiner = Combiner(done.extend)

    class Dropped:
        def __del__(self):
            bring_now(combiner, "dropped")
            done.append("collected")

    dropped = Dropped()
    dropped.itself = dropped
    del dropped
    gc.collect()
    bring_now(combiner, "next")

    assert done == ["collected", "dropped", "next"]


def test_what_the_handler_of_a_signal_raises_while_garbage_is_collected_is_not_lost(strike):
    heap = [[] for _ in range(100_000)]  # so that it comes while the collector is at work, and nothing of Python's is
    gc.collect()  # other tests' garbage, which may have finalizers and callbacks of weak references

    def collect():
        strike()
        for _ in range(200):
            gc.collect()

    with pytest.raises(TimeIsUp):
        collect()

    assert heap


@pytest.mark.skipif("coverage" in sys.modules, reason="it may strike within coverage, and leave its lock shut for good")
def test_a_signals_exception_leaves_it_in_order(strike):
    done = []
    combiner = Combiner(done.extend)

    for _ in range(200):
        with suppress(TimeIsUp):
            strike()
            while True:
                bring_now(combiner, 0)
    done.clear()
    bring_now(combiner, 1)

    assert done[-1] == 1


def test_one_that_nobody_has_is_forgotten():
    known = len(_combining._combiners)
    combiner = Combiner(list)

    del combiner

    assert len(_combining._combiners) == known
