"""The exporter's own counts as OpenTelemetry metrics, `hopline.statsd.*`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from hopline_statsd.stats import StatsdStats

_Read = Callable[[StatsdStats], Iterable[Observation]]

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
        meter.create_observable_counter(name, [_callback(stats, read)], unit, description)


def _callback(stats: Callable[[], StatsdStats], read: _Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: read(stats())
