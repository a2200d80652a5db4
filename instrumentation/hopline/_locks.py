"""Locks that neither a fork nor a signal's handler leaves shut for good."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from threading import RLock, get_ident
from typing import Any

# How long a fork waits for whoever has a lock, in seconds.
_PATIENCE = 0.1


def lasting_lock(patience: float | None = None) -> Any:
    """Make a lock for what lives as long as the process.

    It is reentrant, for a signal's handler may come where its own thread has it. A fork waits for it, so that what it
    guards is whole in the child; where the thread that has it does not let go of it, the child gets it opened.

    Args:
        patience: how long a fork waits, in seconds (default: 0.1).
    """
    lock: Any = RLock()

    def open_it() -> None:
        if lock.acquire(blocking=False):
            lock.release()
        else:  # by a thread that the child does not have
            lock._at_fork_reinit()

    hold_over_forks(lambda: (lock,), open_it, patience)
    return lock


def hold_over_forks(
    locks: Callable[[], Sequence[Any]], in_child: Callable[[], None], patience: float | None = None
) -> None:
    """Have the thread that forks hold some locks meanwhile, so that nobody is in the midst of what they guard.

    Args:
        locks: tells which, before each fork.
        in_child: called in the child, once it has let go of them.
        patience: how long a fork waits for each of them, in seconds (default: 0.1); after that it goes without.
    """
    held: dict[int, list[Any]] = {}  # by the thread that forks: several may do so at once

    def take() -> None:
        timeout = _PATIENCE if patience is None else patience
        held[get_ident()] = [lock for lock in locks() if lock.acquire(timeout=timeout)]

    def let_go() -> None:
        for lock in held.pop(get_ident(), ()):
            lock.release()

    def begin() -> None:
        let_go()
        held.clear()  # what other threads held, which forked at the same time
        in_child()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=take, after_in_parent=let_go, after_in_child=begin)
