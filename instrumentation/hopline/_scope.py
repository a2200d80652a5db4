"""Which request or job something belongs to, and what its work comes to."""

from __future__ import annotations

from math import inf, isfinite
from time import monotonic
from typing import NamedTuple

from hopline._locks import lasting_lock

_MAX_KINDS = 64


class Total(NamedTuple):
    """What one kind of work came to."""

    times: int
    """How often it was done."""
    ms: float
    """How long it took altogether, in milliseconds."""


# One for all: what is done with it takes a microsecond.
_adding = lasting_lock()


class Lineage:
    """What a request's scope has in common with those that the application began in its place.

    Attributes:
        answered: when the request was answered, on the monotonic clock: nobody waits for what goes on after that.
    """

    __slots__ = ("answered",)

    def __init__(self) -> None:
        self.answered = -inf

    def answer(self) -> None:
        """Note that the request has been answered now: its deadline holds no more for what goes on after that."""
        self.answered = monotonic()


class Scope:
    """The identity of one request or job: every version of its state has the same scope, in every thread and task.

    Attributes:
        extracted: whether it lives as long as the OpenTelemetry context that it was extracted into is attached; one
            that the application began lives until it clears it or begins another.
        lineage: what it has in common with the scopes that the application began in its place.
        ended: whether the application has cleared it.
    """

    __slots__ = ("_totals", "ended", "extracted", "lineage")

    def __init__(self, *, extracted: bool = False, within: Scope | None = None) -> None:
        self.extracted: bool = extracted if within is None else within.extracted
        self.lineage: Lineage = Lineage() if within is None else within.lineage
        self.ended = False
        self._totals: dict[str, Total] = {}

    def track(self, kind: str, ms: float) -> None:
        """Add one piece of work to the total of its kind; past 64 kinds, to the kind ``other``.

        Raises:
            ValueError: if ``ms`` is negative or not finite.
        """
        if ms < 0 or not isfinite(ms):
            raise ValueError(f"{ms!r} is not a duration in milliseconds")
        with _adding:
            if kind not in self._totals and len(self._totals) >= _MAX_KINDS:
                kind = "other"
            times, total = self._totals.get(kind, (0, 0.0))
            self._totals[kind] = Total(times + 1, total + ms)

    def totals(self) -> dict[str, Total]:
        """The totals so far, by kind."""
        with _adding:
            return dict(self._totals)
