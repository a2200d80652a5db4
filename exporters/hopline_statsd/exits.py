"""How lines go out at the end: of a client, of the interpreter, of children that leave without `atexit`."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Protocol

EXIT_TIMEOUT = 2.0
"""Seconds that the end of a process waits for a server at most."""

_BEFORE_OTHERS = 1000  # of multiprocessing's finalizers, of which the highest number comes first


class Flushable(Protocol):
    """What may hold lines when a process ends."""

    def flush(self, timeout: float) -> bool:
        """Send whatever is there, within so many seconds."""


_flushed_at_exit: weakref.WeakSet[Flushable] = weakref.WeakSet()


def flush_when_child_exits(flushable: Flushable) -> None:
    """Have something flushed when a child of multiprocessing or of Celery's pool ends.

    They leave with `os._exit`: the first after the finalizers of its `util` module, the second after a
    signal of Celery's. Neither module is imported here; in their children it is there already.

    Args:
        flushable: What is flushed; it is not kept alive.
    """
    _flushed_at_exit.add(flushable)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _is_child():
        _add_finalizer(util, os.getpid())
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_flush_all, weak=False, dispatch_uid=__name__)


def _is_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


@lru_cache(maxsize=1)
def _add_finalizer(util: ModuleType, pid: int) -> None:
    """Add it once in each process: a child of a child has none of its parent's finalizers."""
    # First of all, for a pool may be about to kill its workers; and after the others, whose spans may make lines.
    for priority in (_BEFORE_OTHERS, 0):
        util.Finalize(None, _flush_all, exitpriority=priority)


def _flush_all(*_: object, **__: object) -> None:
    for flushable in list(_flushed_at_exit):
        flushable.flush(EXIT_TIMEOUT)


def close_with(owner: object, close: Callable[[float], object]) -> weakref.finalize[[float], object]:
    """Have what an owner sends with closed when the owner is gone, or the interpreter ends.

    Args:
        owner: Whoever is handed out to users; `close` must not refer to it.
        close: Closes what it sends with; takes seconds.

    Returns:
        The finalizer, to be detached where the owner is closed by hand.
    """
    return weakref.finalize(owner, close, EXIT_TIMEOUT)
