"""Measurements whose attributes are prepared once: the SDK itself checks and hashes them anew each time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

from opentelemetry.context import Context

Value = str | int | float | bool

# Beyond this bound, which only a great many classes of errors reach, they are made anew each time.
_MAX_EXTENDED = 16


class Series(dict[str, Value]):
    """The attributes of any number of measurements. It must not be changed.

    Args:
        attributes: the same; a value of any other type, such as a string that is made when it is read, becomes one
            of text, as the SDK would make it.

    Attributes:
        key: what the SDK keeps the series by; None until it is first recorded there.
        place: one of the SDK's views, and where that view adds the series up; Nones until that is known.
    """

    __slots__ = ("_extended", "key", "place")

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        super().__init__((name, _plain(value)) for name, value in attributes.items())
        self.key: Hashable = None
        self.place: tuple[Any, Any] = (None, None)
        self._extended: dict[tuple[str, Value], Series] = {}

    def extended(self, name: str, value: Value) -> Series:
        """The same attributes and one more."""
        known = self._extended.get((name, value))
        if known is None:
            known = Series({**self, name: value})
            if len(self._extended) < _MAX_EXTENDED:
                self._extended[name, value] = known
        return known


class Recorder(Protocol):
    """Records into a histogram or a counter, for series that are recorded again and again."""

    def is_read(self) -> bool:
        """Whether there may be a reader for what is recorded."""

    def record(self, amount: float, series: Series, context: Context | None = None) -> None:
        """Record one measurement.

        Args:
            amount: what was measured, or how much the counter goes up.
            series: its attributes.
            context: an exemplar leads to the span that is current in it (default: the current context).
        """


def _plain(value: object) -> Value:
    return value if isinstance(value, (str, int, float)) else str(value)
