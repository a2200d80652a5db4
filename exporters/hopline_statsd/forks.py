"""How a child process notices that it was forked, also when nothing tells Python so.

`os.register_at_fork` is enough for `os.fork` and `multiprocessing`. A server that forks in C (uWSGI, unless
told otherwise) skips it, and asking for the process id at each line would cost more than the line. So the
number that each line is compared with anyway, the room left in the packet, lives on a page that the kernel
wipes in a child: there it reads 0, the packet seems full, and the path that is walked once per packet looks
at the process id.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from typing import Protocol

_MADV_WIPEONFORK = 18  # Linux 4.14, <linux/mman.h>; the mmap module does not name it


class Forked(Protocol):
    """What has locks or sockets, and so cannot go on in a child as it is."""

    def begin_anew(self) -> None:
        """Go on in a child."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()


def number_wiped_by_fork() -> tuple[memoryview, bool]:
    """Make room for one unsigned number that reads 0 in every forked child.

    Returns:
        The number, at index 0, and whether it is so: where the system has no such memory, it is like any
        other.
    """
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(_MADV_WIPEONFORK)
        except OSError:
            page.close()
        else:
            return memoryview(page).cast("I"), True
    return memoryview(bytearray(4)).cast("I"), False


def watch(forked: Forked) -> None:
    """Have `begin_anew` called in every child that Python forks."""
    _watched.add(forked)


def _after_fork_in_child() -> None:
    for forked in list(_watched):
        forked.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
