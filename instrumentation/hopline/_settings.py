"""Reading settings: a value that cannot be used costs one warning that names it, never the application."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from logging import getLogger
from os import environ
from typing import TypeVar

_logger = getLogger("hopline")

T = TypeVar("T")


def read(name: str, parse: Callable[[str], T], default: T, *, wrong: T | None = None) -> T:
    """Read the environment variable ``name``.

    Args:
        name: the variable.
        parse: turns its text into the value; raises ``ValueError`` with the reason when it cannot.
        default: used when the variable is unset or empty.
        wrong: used when the value is wrong, which one WARNING reports; ``default`` unless given.

    Returns:
        The parsed value, or what is used in its place.
    """
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as error:
        used = default if wrong is None else wrong
        _warn(name, text, str(error), _in_words(used))
        return used


def _in_words(value: object) -> str:
    if value is None or value == ():
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@lru_cache(maxsize=256)
def _warn(name: str, text: str, reason: str, used: str) -> None:
    """Say it once, however many read the variable."""
    _logger.warning("%s=%r is not usable (%s); using %s instead", name, text, reason, used)


def boolean(text: str) -> bool:
    """Parse ``true`` or ``false``, in any case, as the OpenTelemetry specification has it.

    Raises:
        ValueError: for any other text.
    """
    value = text.lower()
    if value not in ("true", "false"):
        raise ValueError("expected true or false")
    return value == "true"


def comma_separated(text: str) -> tuple[str, ...]:
    """Split a comma-separated list; white space and empty entries do not count."""
    return tuple(entry for entry in (part.strip() for part in text.split(",")) if entry)


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a parser that takes one of ``choices``, in any case."""

    def parse(text: str) -> str:
        value = text.lower()
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return value

    return parse
