"""What a line says: the value of an attribute, checked, in the unit of the line."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from numbers import Complex, Number, Real
from typing import Any

from hopline_statsd.fields import text_of
from hopline_statsd.lines import MAX_VALUE, Dialect, gauge, number
from hopline_statsd.rules import UNITS, Rule

Reader = Callable[[Mapping[str, Any]], Any]
"""Gets what stands for the value in a line format from attributes; None where it is no value."""

DURATION = "%.3f"
"""Milliseconds with the resolution of a microsecond."""


def conversion_for(rule: Rule) -> str:
    """Return the `%` conversion that stands for a rule's value."""
    return DURATION if rule.is_timer else "%s"


def reader_for(rule: Rule, dialect: Dialect, line_format: bytes) -> Reader | None:
    """Return what reads the value that a rule asks for.

    Args:
        rule: The rule.
        dialect: The dialect, where the value is written in its way.
        line_format: The line's format; a gauge may need two lines, and so makes lines of its own.

    Returns:
        The reader; None where the value is the duration of the span.
    """
    if rule.value is None:
        return None if rule.is_timer else _one
    attribute, scale = rule.value, UNITS[rule.unit]
    if rule.is_timer:
        return lambda attributes: finite(attributes.get(attribute), scale, lowest=0.0)
    if rule.type == "s":
        return lambda attributes: dialect.member(text_of(attributes.get(attribute))).encode()

    def read(attributes: Mapping[str, Any]) -> bytes | None:
        value = finite(attributes.get(attribute), 1.0)
        if value is None:
            return None
        return gauge(line_format, value) if rule.type == "g" else number(value)

    return read


def finite(value: object, scale: float, lowest: float = -MAX_VALUE) -> float | None:
    """Check a number and scale it.

    Args:
        value: Anything.
        scale: What it is multiplied with.
        lowest: The least that it may be then.

    Returns:
        The number, an `int` or a `float`; None where it is none, is not finite, or is beyond 1e15.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        value = _plain(value)
        if value is None:
            return None
    try:
        scaled = value * scale if scale != 1.0 else value
    except OverflowError:
        return None
    return scaled if lowest <= scaled <= MAX_VALUE else None


def _plain(value: object) -> int | float | None:
    """Make an `int` or a `float` of another real number: numpy's, a `Decimal`, a `Fraction`."""
    # A Decimal is a Number, and nothing more than that.
    is_complex = isinstance(value, Complex) and not isinstance(value, Real)
    if isinstance(value, bool) or is_complex or not isinstance(value, Number):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _one(attributes: Mapping[str, Any]) -> bytes:
    return b"1"
