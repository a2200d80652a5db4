"""Response bodies that the application reads after its call has returned: their time, their bytes, their end."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from opentelemetry.metrics import Meter

from hopline.http.attributes import OUTCOME, Outcome
from hopline.http.series import histogram

if TYPE_CHECKING:
    from hopline.http.instruments import ClientInstruments

CONSUMED = "consumed"
"""The body was read to its end."""

CLOSED = "closed"
"""The response was closed before its end."""

ABANDONED = "abandoned"
"""The response was neither read to its end nor closed, and dropped."""

SIZE_BOUNDARIES = tuple(float(10**power) for power in range(2, 10))
"""The buckets of sizes, in bytes: those of the SDK end at 10,000."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Bodies:
    """What is told about streamed response bodies.

    Their span has ended at the header, and stays as it is; what follows is recorded on two histograms,
    ``hopline.http.client.body.duration`` (seconds) and ``hopline.http.client.body.size`` (bytes on the wire), with
    the attributes of the request's own duration and ``hopline.outcome``.

    Args:
        meter: makes the instruments.
    """

    __slots__ = ("_duration", "_size")

    def __init__(self, meter: Meter) -> None:
        self._duration = histogram(
            meter,
            "hopline.http.client.body.duration",
            "s",
            "Time from a streamed response's header to its body's end.",
            _SECONDS,
        )
        self._size = histogram(
            meter, "hopline.http.client.body.size", "By", "Bytes read of a streamed response's body.", SIZE_BOUNDARIES
        )

    def record(self, body: Body, size: int, ending: str) -> None:
        """Record one body that has ended.

        Args:
            body: the body.
            size: the bytes of it that were read from the wire.
            ending: ``CONSUMED``, ``CLOSED``, ``ABANDONED``, or the type of the error that ended it.
        """
        series = body.outcome.series.extended(OUTCOME, ending)
        self._duration.record((perf_counter_ns() - body.started) / 1e9, series)
        self._size.record(size, series)


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
        """Record that it has ended; the arguments are those of :meth:`Bodies.record`."""
        self.instruments.bodies.record(self, size, ending)
        self.instruments.record_sizes(None, size, self.outcome)
