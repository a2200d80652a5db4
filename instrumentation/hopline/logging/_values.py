"""Turns any value that may stand in a log record into one that each format can hold."""

from __future__ import annotations

import json
from math import isfinite
from typing import TypeAlias

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

_MAX_DEPTH = 8
_INT64 = 1 << 63


def plain(value: object) -> Plain:
    """``value`` out of what JSON has.

    What JSON does not have is written as text: not a number and infinities, integers of more than 64 bits, bytes,
    other objects, and what is nested more than 8 levels deep (or in itself).
    """
    return _plain(value, 0)


def _plain(value: object, depth: int) -> Plain:
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return _number(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, dict):
            # Copied, for another thread may be changing it.
            return {text(key): _plain(each, depth + 1) for key, each in dict(value).items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(each, depth + 1) for each in tuple(value)]
    return text(value)


def _number(value: float) -> Plain:
    fits = isfinite(value) if isinstance(value, float) else -_INT64 <= value < _INT64
    return value if fits else text(value)


def text(value: object) -> str:
    """``value`` as text that can be encoded, also when it cannot say what it is."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "backslashreplace")
    try:
        return well_formed(str(value))
    except Exception as error:  # noqa: BLE001 - somebody else's `__str__` must not cost the record
        return f"<{type(value).__qualname__} that cannot be shown: {type(error).__qualname__}>"


def well_formed(value: str) -> str:
    """``value``, with an escape for what is half of a character and cannot be encoded (a lone surrogate)."""
    # As a plain str, for a subclass (an enumeration, say) may format itself differently.
    value = str.__str__(value)
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")


def to_json(value: object) -> str:
    """``value`` as JSON, on one line, in ASCII."""
    return json.dumps(plain(value), separators=(",", ":"))
