"""What is known for as long as somebody has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def alive(refs: Iterable[Callable[[], T | None]]) -> list[T]:
    """What is left of that which weak references refer to.

    With the ``keyrefs()`` or ``valuerefs()`` of a weak dictionary, other threads may add to it meanwhile; to go through
    the dictionary itself would fail then.
    """
    return [thing for each in refs if (thing := each()) is not None]
