"""Response bodies that the application reads after its call has returned: their time, their bytes, their end."""

from __future__ import annotations

from time import perf_counter_ns

from hopline.http.attributes import Outcome
from hopline.http.instruments import ClientInstruments

CONSUMED = "consumed"
"""The body was read to its end."""

CLOSED = "closed"
"""The response was closed before its end."""

ABANDONED = "abandoned"
"""The response was neither read to its end nor closed, and dropped."""


class Body:
    """One body that is read after its call, from the header on.

    Attributes:
        instruments: what it is told to.
        outcome: how its attempt ended.
        started: when the header had arrived, in nanoseconds of the performance counter.
    """

    __slots__ = ("instruments", "outcome", "started")

    def __init__(self, instruments: ClientInstruments, outcome: Outcome) -> None:
        self.instruments = instruments
        self.outcome = outcome
        self.started = perf_counter_ns()

    def tell(self, size: int, ending: str) -> None:
        """Record that it has ended.

        Args:
            size: the bytes of it that were read from the wire.
            ending: ``CONSUMED``, ``CLOSED``, ``ABANDONED``, or the type of the error that ended it.
        """
        self.instruments.bodies.record(self.outcome, self.started, size, ending)
        self.instruments.record_sizes(None, size, self.outcome)
