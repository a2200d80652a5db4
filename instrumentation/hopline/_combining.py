"""Work of many threads that one of them does at a time, while none of the others waits: flat combining."""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from time import sleep
from typing import Any
from weakref import WeakKeyDictionary

from hopline._guard import guard
from hopline._locks import hold_over_forks
from hopline._weak import alive

# Where so much waits, who brings more pauses for so many seconds, or the thread that is at work would fall behind:
# to bring takes a tenth of what the work takes.
_MANY = 100
_PAUSE = 0.0005


class Combiner:
    """Has a function called for whatever is brought, by the thread that brings it or by one that is at it already.

    Threads that waited for each other's lock instead would hand the interpreter's lock to and fro with each call from
    then on: a thread that gets the one has yet to get the other, and all that come meanwhile wait for it.

    Args:
        function: what is to be called; by one thread at a time, but for :meth:`settle`. An error of it is logged and
            counted, for it may be met in another thread than the one that has brought what caused it.
    """

    __slots__ = ("__weakref__", "_at_work", "_function", "_waiting")

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self.begin_anew()
        _combiners[self] = None

    def begin_anew(self) -> None:
        """Have nothing waiting and nobody at work, as it is in a child process."""
        self._at_work = Lock()
        self._waiting: deque[tuple[Any, ...]] = deque()

    def bring(self, *arguments: Any) -> None:
        """Have the function called with ``arguments``: now, or in a moment by the thread that is at work."""
        waiting, at_work = self._waiting, self._at_work
        waiting.append(arguments)
        if _is_collecting():
            return  # a finalizer's, maybe: its thread may have one of the SDK's locks, and cannot wait for it
        # Asked again after the work: who came since the last look found somebody at work. `with`, for no signal's
        # exception comes between its lock and its block; what a signal's handler brings finds its own thread at work.
        while waiting and not at_work.locked():
            with at_work:
                self.settle()
        if len(waiting) > _MANY:
            sleep(_PAUSE)

    def settle(self) -> None:
        """Have the function called for all that waits, before this returns."""
        waiting = self._waiting
        try:
            while waiting:
                guard(self._function, *waiting.popleft())
        except IndexError:
            return  # somebody else has taken the last


_combiners: WeakKeyDictionary[Combiner, None] = WeakKeyDictionary()


def settle_all() -> None:
    """Have all that waits anywhere worked off before this returns."""
    for combiner in alive(_combiners.keyrefs()):
        combiner.settle()


# The phase that the garbage collector has come to is the last one. In which thread, gevent could not always tell.
_phases: OrderedDict[str, None] = OrderedDict(start=None, stop=None)

# Called with the phase and a dictionary, which stands for true. In a callback written in Python the handler of a signal
# that has come meanwhile would be called, and what that raises, such as a time limit, would be dropped.
gc.callbacks.append(_phases.move_to_end)  # type: ignore[arg-type]


def _is_collecting() -> bool:
    return [*_phases][-1] == "start"  # a list at first: nothing is collected while it is read


def _at_work() -> list[Lock]:
    return [combiner._at_work for combiner in alive(_combiners.keyrefs())]


def _begin_anew() -> None:
    # What waited is worked off by the parent.
    for combiner in alive(_combiners.keyrefs()):
        combiner.begin_anew()


# Nobody is at work while a process forks: in the child he would be gone, with the SDK's lock shut.
hold_over_forks(_at_work, _begin_anew)
