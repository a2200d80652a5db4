"""Locks that neither a fork nor a signal's handler leaves shut for good."""

from __future__ import annotations

import os
from threading import RLock, get_ident
from typing import Any


def lasting_lock(patience: float = 0.1) -> Any:
    """Make a lock for what lives as long as the process.

    It is reentrant, for a signal's handler may come where its own thread has it. A fork waits for it, so that what it
    guards is whole in the child; where the thread that has it does not let go of it, the child gets it opened.

    Args:
        patience: how long a fork waits, in seconds.
    """
    lock: Any = RLock()
    had: dict[int, bool] = {}  # by the thread that forks: several may do so at once

    def before() -> None:
        had[get_ident()] = lock.acquire(timeout=patience)

    def in_parent() -> None:
        if had.pop(get_ident(), False):
            lock.release()

    def in_child() -> None:
        if had.pop(get_ident(), False):
            lock.release()
        else:
            lock._at_fork_reinit()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
    return lock
