"""Signals whose handlers raise, as time limits do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeIsUp(BaseException):
    """What a signal's handler raises."""


@contextmanager
def striking() -> Iterator[Callable[[], object]]:
    """Give a function that has a signal's handler raise once, a moment after the call."""

    def struck(number: int, frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, struck)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.0005)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
