"""Turns any value that may stand in a log record into one that each format can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, TypeAlias

from hopline._errors import is_of_a_signal

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

_MAX_DEPTH = 8
_MAX_VALUES = 10_000
_REST = "..."
_INT64 = 1 << 63
_NUMBERS = frozenset((bool, int, float))


def plain(value: object) -> Plain:
    """``value`` out of what JSON has.

    What JSON does not have is written as text: not a number and infinities, integers of more than 64 bits, bytes, and
    other objects, also those that raise when they are looked at. A container that is nested more than 8 levels deep, or
    in itself, is written as ``{...}`` or ``[...]``; after 10,000 values ``...`` stands for the rest.
    """
    kind = type(value)
    if kind is str:
        return well_formed(value)  # type: ignore[arg-type]
    return _number(value) if kind in _NUMBERS else _Visit().plain(value)  # type: ignore[arg-type]


class _Visit:
    """One value with all that is in it.

    Where its parts know each other there are more ways through it than can be gone, so the values on them are counted.
    """

    __slots__ = ("_around", "_left")

    def __init__(self) -> None:
        self._around: set[int] = set()  # the identities of the containers that lead to where we are
        self._left = _MAX_VALUES

    def plain(self, value: Any) -> Plain:
        self._left -= 1
        try:
            return self._made(value)
        except Exception as error:  # somebody else's value, a proxy for one, must not cost the record
            if is_of_a_signal(error):
                raise
            return _not_shown(value, error)

    def _made(self, value: Any) -> Plain:
        # What it is by its type: a proxy says that it is what it stands for, but `json` would not take it for that.
        kind = type(value)
        if issubclass(kind, str):
            return well_formed(value)
        if value is None:
            return None
        if issubclass(kind, (int, float)):
            return _number(value)
        if isinstance(value, dict):
            return self._inside(value, self._dict, "{...}")
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._inside(value, self._list, "[...]")
        return text(value)

    def _inside(self, container: Any, visit: Callable[[Any], Plain], otherwise: str) -> Plain:
        identity = id(container)
        if self._left <= 0 or len(self._around) == _MAX_DEPTH or identity in self._around:
            return otherwise
        self._around.add(identity)
        try:
            return visit(container)
        finally:
            self._around.discard(identity)

    def _dict(self, container: dict[Any, Any]) -> Plain:
        made: dict[str, Plain] = {}
        for key, value in dict(container).items():  # copied, for another thread may be changing it
            if self._left <= 0:
                made[_REST] = _REST
                break
            made[text(key)] = self.plain(value)
        return made

    def _list(self, container: Iterable[Any]) -> Plain:
        made: list[Plain] = []
        for value in tuple(container):
            if self._left <= 0:
                made.append(_REST)
                break
            made.append(self.plain(value))
        return made


def _number(value: float) -> Plain:
    fits = isfinite(value) if isinstance(value, float) else -_INT64 <= value < _INT64
    return value if fits else text(value)


def text(value: object) -> str:
    """``value`` as text that can be encoded, also when it cannot say what it is."""
    if type(value) is str:
        return well_formed(value)
    try:
        if isinstance(value, (bytes, bytearray)):
            return value.decode("utf-8", "backslashreplace")
        return well_formed(value if issubclass(type(value), str) else str(value))  # type: ignore[arg-type]
    except Exception as error:  # somebody else's `__str__` must not cost the record
        if is_of_a_signal(error):
            raise
        return _not_shown(value, error)


def _not_shown(value: object, error: Exception) -> str:
    return f"<{type(value).__qualname__} that cannot be shown: {type(error).__qualname__}>"


def well_formed(value: str) -> str:
    """``value``, with an escape for what is half of a character and cannot be encoded (a lone surrogate)."""
    # As a plain str, for a subclass (an enumeration, say) may format itself differently.
    value = str.__str__(value)
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def to_json(value: Plain) -> str:
    """``value`` as JSON, on one line, in ASCII."""
    return json.dumps(value, separators=(",", ":"))
