"""How lines go out at the end: of a client, of the interpreter, of children that leave without `atexit`."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hopline_statsd.sender import Sender

EXIT_TIMEOUT = 2.0
"""Seconds that the end of a process waits for a server at most."""


def flush_when_child_exits(sender: Sender) -> None:
    """Have a sender flushed when a child of multiprocessing or of Celery's pool ends.

    They leave with `os._exit`: the first after the finalizers of its `util` module, the second after a
    signal of Celery's. Neither module is imported here; in their children it is there already.

    Args:
        sender: The sender; it is not kept alive.
    """
    flush = _Flush(sender)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _is_child():
        util.Finalize(None, flush, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(flush, weak=False)


class _Flush:
    """Flushes a sender that is still in use."""

    def __init__(self, sender: Sender) -> None:
        self._sender = weakref.ref(sender)

    def __call__(self, *_: object, **__: object) -> None:
        sender = self._sender()
        if sender is not None:
            sender.flush(EXIT_TIMEOUT)


def _is_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def close_with(owner: object, sender: Sender) -> weakref.finalize[[float], object]:
    """Have a sender closed when its owner is gone, or the interpreter ends.

    Args:
        owner: Whoever is handed out to users; the sender must not refer to it.
        sender: What it sends with.

    Returns:
        The finalizer, to be detached where the owner is closed by hand.
    """
    return weakref.finalize(owner, sender.close, EXIT_TIMEOUT)
