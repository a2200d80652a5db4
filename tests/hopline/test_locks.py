"""Locks that stay usable, whatever holds them when a process forks."""

from __future__ import annotations

import threading

import pytest

from hopline._locks import lasting_lock
from tests.forks import exit_code_of_a_child

PATIENCE = 30  # seconds, until a test that hangs fails

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def held_by_a_thread(lock, until):
    """Have a thread hold the lock until an event, and return once it does."""
    holding = threading.Event()

    def hold():
        with lock:
            holding.set()
            until.wait(PATIENCE)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    holding.wait(PATIENCE)
    return thread


def is_free(lock):
    """Whether another thread gets the lock."""
    got = []
    thread = threading.Thread(
        target=lambda: got.append(lock.acquire(timeout=1) and lock.release() is None), daemon=True
    )
    thread.start()
    thread.join(PATIENCE)
    return got == [True]


def test_the_thread_that_has_it_may_take_it_again():
    lock = lasting_lock()

    with lock:
        assert lock.acquire(timeout=1)


def test_a_fork_waits_for_the_thread_that_has_it():
    lock, until = lasting_lock(PATIENCE), threading.Event()
    held_by_a_thread(lock, until)
    whole = []

    threading.Timer(0.05, lambda: (whole.append(True), until.set())).start()

    assert exit_code_of_a_child(lambda: 0 if whole and is_free(lock) else 1) == 0
    assert is_free(lock)


def test_a_child_gets_it_opened_where_nobody_lets_go_of_it():
    lock, until = lasting_lock(0.01), threading.Event()
    thread = held_by_a_thread(lock, until)

    assert exit_code_of_a_child(lambda: 0 if is_free(lock) else 1) == 0

    until.set()
    thread.join(PATIENCE)
    assert is_free(lock)


def test_a_thread_that_has_it_may_fork():
    lock = lasting_lock()

    def leave():
        lock.release()
        return 0 if is_free(lock) else 1

    lock.acquire()
    code = exit_code_of_a_child(leave)
    lock.release()

    assert code == 0
    assert is_free(lock)
