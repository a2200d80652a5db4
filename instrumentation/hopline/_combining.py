"""Work of many threads that one of them does at a time, much of it at once, while no other waits: flat combining."""

from __future__ import annotations

import gc
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from threading import RLock
from time import sleep
from typing import Any
from weakref import WeakKeyDictionary

from hopline._guard import guard
from hopline._locks import hold_over_forks
from hopline._weak import alive

# So much waits until it is worked off: work that is done over and over takes half the time of what is done now and then
# among other code, which the processor's caches forget it for.
_BATCH = 64

# Where so much waits, who brings more pauses for so many seconds, or the thread that is at work would fall behind:
# to bring takes half of what the work takes.
_MANY = 100
_PAUSE = 0.0005

Work = Callable[[Iterator[Any]], object]


class Combiner:
    """Has a function called for what is brought, by a thread that brings some when enough waits, or when it is settled.

    Threads that waited for each other's lock instead would hand the interpreter's lock to and fro with each call from
    then on: a thread that gets the one has yet to get the other, and all that come meanwhile wait for it.

    Args:
        function: does the work that it is given, an iterator of what was brought, to its end; in one thread at a time,
            but for :meth:`settle`. An error of it is logged and counted, for it may be met in another thread than the
            one that has brought what caused it; the rest is worked off all the same.
    """

    __slots__ = ("__weakref__", "_at_work", "_function", "_waiting")

    def __init__(self, function: Work) -> None:
        self._function = function
        self.begin_anew()
        _combiners[self] = None

    def begin_anew(self) -> None:
        """Have nothing waiting and nobody at work, as it is in a child process."""
        # Reentrant, so that it knows its owner, and who does not have it cannot let go of it. It is taken within the
        # `try` that lets go of it: a signal's exception may come as soon as it is taken, also, on 3.14, in a `with`.
        self._at_work: Any = RLock()
        self._waiting: deque[Any] = deque()

    def bring(self, work: object, *, at_once: bool = False) -> None:
        """Have ``work`` done in a while, by whoever brings enough or settles; or at once, by whoever is at work."""
        waiting = self._waiting
        waiting.append(work)
        if at_once or len(waiting) >= _BATCH:
            self._work_off()

    def settle(self) -> None:
        """Have all that waits worked off before this returns, but for what another thread has just begun with."""
        self._work_alone(at_any_rate=True)

    def _work_off(self) -> None:
        # Not in a finalizer, maybe: its thread may have one of the SDK's locks, and cannot wait for it.
        if self._at_work._is_owned() or _is_collecting():
            return
        # Asked again after the work: who came since the last look found somebody at work.
        while self._waiting and self._work_alone(at_any_rate=False):
            pass
        if len(self._waiting) > _MANY:
            sleep(_PAUSE)

    def _work_alone(self, *, at_any_rate: bool) -> bool:
        """Work off what waits unless another thread does, or beside it; returns whether it was done."""
        at_work = self._at_work
        try:
            # Also at any rate, so that what a signal's handler brings finds its own thread at work.
            if not at_work.acquire(False) and not at_any_rate:
                return False
            self._work()
            return True
        finally:
            try:  # noqa: SIM105  to call anything before would be to ask for a signal
                at_work.release()
            except RuntimeError:  # another thread is at work
                pass

    def _work(self) -> None:
        waiting = self._waiting
        while waiting:
            guard(self._function, _taken(waiting))


def _taken(waiting: deque[Any]) -> Iterator[Any]:
    try:
        while waiting:
            yield waiting.popleft()
    except IndexError:
        return  # somebody else has taken the last


_combiners: WeakKeyDictionary[Combiner, None] = WeakKeyDictionary()


# The phase that the garbage collector has come to is the last one. In which thread, gevent could not always tell.
_phases: OrderedDict[str, None] = OrderedDict(start=None, stop=None)

# Called with the phase and a dictionary, which stands for true. In a callback written in Python the handler of a signal
# that has come meanwhile would be called, and what that raises, such as a time limit, would be dropped.
gc.callbacks.append(_phases.move_to_end)  # type: ignore[arg-type]


def _work_all_off() -> None:
    for combiner in alive(_combiners.keyrefs()):
        combiner._work_off()


def _is_collecting() -> bool:
    return [*_phases][-1] == "start"  # a list at first: nothing is collected while it is read


def _at_work() -> list[Any]:
    return [combiner._at_work for combiner in alive(_combiners.keyrefs())]


def _begin_anew() -> None:
    # What other threads have brought meanwhile is worked off by the parent.
    for combiner in alive(_combiners.keyrefs()):
        combiner.begin_anew()


# Nobody is at work while a process forks: in the child he would be gone, with the SDK's lock shut.
hold_over_forks(_at_work, _begin_anew)
if hasattr(os, "register_at_fork"):
    # Before that: the parent may end at once, as it does where a process becomes a daemon.
    os.register_at_fork(before=_work_all_off)
