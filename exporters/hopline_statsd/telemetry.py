"""The exporter's own counts as OpenTelemetry metrics, `hopline.statsd.*`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from hopline_statsd.stats import StatsdStats

_Read = Callable[[StatsdStats], Iterable[Observation]]
_Counts = dict[frozenset[tuple[str, Any]], float]

_INSTRUMENTS: tuple[tuple[str, str, str, _Read], ...] = (
    (
        "hopline.statsd.lines",
        "{line}",
        "Lines handed to the socket.",
        lambda stats: [Observation(stats.lines)],
    ),
    (
        "hopline.statsd.packets",
        "{packet}",
        "Packets they were in.",
        lambda stats: [Observation(stats.packets)],
    ),
    ("hopline.statsd.bytes", "By", "Payload of these packets.", lambda stats: [Observation(stats.bytes)]),
    (
        "hopline.statsd.dropped",
        "{line}",
        "Lines that were never sent, by reason.",
        lambda stats: [Observation(count, {"reason": reason}) for reason, count in stats.dropped.items()],
    ),
    (
        "hopline.statsd.errors",
        "{error}",
        "Errors of the socket, by name.",
        lambda stats: [Observation(count, {"error.type": name}) for name, count in stats.errors.items()],
    ),
)


def observe(scope: str, stats: Callable[[], StatsdStats], meter_provider: MeterProvider | None = None) -> None:
    """Have counts collected with the application's metrics.

    Args:
        scope: The name of the instrumentation scope: who counts.
        stats: Returns the counts.
        meter_provider: Where they go; the global one by default.
    """
    meter = get_meter(scope, meter_provider=meter_provider)
    for name, unit, description, read in _INSTRUMENTS:
        meter.create_observable_counter(name, [_Totals(stats, read)], unit, description)


class _Totals:
    """What one instrument observes; it never falls, though the counts of a forked child begin at 0.

    The SDK compares what a child observes with what the parent has observed last: the child goes on from there.

    Args:
        stats: Returns the counts of this process.
        read: Makes observations of them.
    """

    def __init__(self, stats: Callable[[], StatsdStats], read: _Read) -> None:
        self._stats = stats
        self._read = read
        self._pid = os.getpid()
        self._before: _Counts = {}
        self._last: _Counts = {}

    def __call__(self, options: CallbackOptions) -> Iterable[Observation]:
        if self._pid != os.getpid():
            self._before, self._pid = self._last, os.getpid()
        totals = dict(self._before)
        for counted in self._read(self._stats()):
            key = frozenset((counted.attributes or {}).items())
            totals[key] = totals.get(key, 0) + counted.value
        self._last = totals
        return [Observation(total, dict(key)) for key, total in totals.items()]
