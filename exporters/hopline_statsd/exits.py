"""How lines go out at the end: of a client, of the interpreter, of children that leave without `atexit`."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable

EXIT_TIMEOUT = 2.0
"""Seconds that the end of a process waits for a server at most."""


def flush_when_child_exits(flush: Callable[[float], object]) -> None:
    """Have a method called that flushes, when a child of multiprocessing or of Celery's pool ends.

    They leave with `os._exit`: the first after the finalizers of its `util` module, the second after a
    signal of Celery's. Neither module is imported here; in their children it is there already.

    Args:
        flush: The method, which takes seconds; its object is not kept alive.
    """
    last_flush = _LastFlush(flush)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _is_child():
        util.Finalize(None, last_flush, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(last_flush, weak=False)


class _LastFlush:
    """Flushes what is still in use."""

    def __init__(self, flush: Callable[[float], object]) -> None:
        self._flush = weakref.WeakMethod(flush)

    def __call__(self, *_: object, **__: object) -> None:
        flush = self._flush()
        if flush is not None:
            flush(EXIT_TIMEOUT)


def _is_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def close_with(owner: object, close: Callable[[float], object]) -> weakref.finalize[[float], object]:
    """Have what an owner sends with closed when the owner is gone, or the interpreter ends.

    Args:
        owner: Whoever is handed out to users; `close` must not refer to it.
        close: Closes what it sends with; takes seconds.

    Returns:
        The finalizer, to be detached where the owner is closed by hand.
    """
    return weakref.finalize(owner, close, EXIT_TIMEOUT)
