"""What is known for as long as somebody has it."""

from __future__ import annotations

from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


def alive_in(known: WeakKeyDictionary[T, Any]) -> list[T]:
    """The keys, while other threads may add some; to go through the dictionary itself would fail then."""
    return [key for each in known.keyrefs() if (key := each()) is not None]
