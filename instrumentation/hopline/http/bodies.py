"""What is measured of response bodies that the application reads after its call has returned."""

from __future__ import annotations

from time import perf_counter_ns

from opentelemetry.metrics import Meter

from hopline.http.attributes import OUTCOME, Outcome
from hopline.http.recorders import histogram

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

    def record(self, outcome: Outcome, started: int, size: int, ending: str) -> None:
        """Record one body that has ended.

        Args:
            outcome: how its attempt ended.
            started: when the header had arrived, in nanoseconds of the performance counter.
            size: the bytes of it that were read from the wire.
            ending: how it ended.
        """
        series = outcome.series.extended(OUTCOME, ending)
        self._duration.record((perf_counter_ns() - started) / 1e9, series)
        self._size.record(size, series)
