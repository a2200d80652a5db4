"""Processes that end without `atexit`: children of multiprocessing and of billiard (Celery's pool)."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hopline_statsd.sender import Sender

EXIT_TIMEOUT = 2.0
"""Seconds that the end of a process waits for a server at most."""

_MAIN_PID = os.getpid()


def flush_when_child_exits(sender: Sender) -> None:
    """Have a sender flushed when a multiprocessing or billiard child ends.

    They leave with `os._exit`, after the finalizers of their own `util` modules. Neither module is imported
    here: in their children it is there already.
    """
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None and _is_child(name.partition(".")[0]):
            util.Finalize(None, _flush, args=(weakref.ref(sender),), exitpriority=0)


def _is_child(library: str) -> bool:
    if os.getpid() != _MAIN_PID:
        return True
    process = sys.modules.get(f"{library}.process")
    return process is not None and process.current_process().name != "MainProcess"


def _flush(reference: weakref.ref[Sender]) -> None:
    sender = reference()
    if sender is not None:
        sender.flush(EXIT_TIMEOUT)


def close_with(owner: object, sender: Sender) -> weakref.finalize[[float], object]:
    """Have a sender closed when its owner is gone, or the interpreter ends.

    Args:
        owner: Whoever is handed out to users; the sender must not refer to it.
        sender: What it sends with.

    Returns:
        The finalizer, to be detached where the owner is closed by hand.
    """
    return weakref.finalize(owner, sender.close, EXIT_TIMEOUT)
