"""Instruments that record series, by the short way into OpenTelemetry's SDK where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter

from hopline.http.sdk_releases import is_of_sdk
from hopline.http.series import Recorder, Series


def histogram(
    meter: Meter, name: str, unit: str, description: str, boundaries: Sequence[float] | None = None
) -> Recorder:
    """Make a histogram.

    Args:
        meter: makes it.
        name: its name.
        unit: its unit, for instance ``s``.
        description: its description.
        boundaries: of its buckets, in that unit (default: the SDK's).

    Returns:
        What records into it.
    """
    return recorder_of(meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries))


def counter(meter: Meter, name: str, unit: str, description: str) -> Recorder:
    """Make a counter; the arguments and the result are those of :func:`histogram`."""
    return recorder_of(meter.create_counter(name, unit, description))


def recorder_of(instrument: Histogram | Counter) -> Recorder:
    """The recorder for an instrument, of any implementation of the API."""
    plain = _Plain(instrument)
    if not is_of_sdk(instrument, "opentelemetry.sdk.metrics._internal.instrument"):
        return plain
    from hopline.http.sdk_storage import is_usual, shortcut_of

    return shortcut_of(instrument, plain) if is_usual(instrument) else plain


class _Plain:
    """Passes measurements on to the instrument as they are."""

    __slots__ = ("_instead", "_instrument")

    def __init__(self, instrument: Histogram | Counter) -> None:
        self._instrument = instrument
        self._instead: Recorder | None = None

    def is_read(self) -> bool:
        return self._instead is None or self._instead.is_read()

    def record(self, amount: float, series: Series, context: Context | None = None) -> None:
        instead = self._instead or self._find()
        if instead is not None:
            instead.record(amount, series, context)
        elif isinstance(self._instrument, Histogram):
            self._instrument.record(amount, series, context)
        else:
            self._instrument.add(amount, series, context)

    def _find(self) -> Recorder | None:
        # The API hands out stand-ins until there is a provider.
        if type(self._instrument).__module__ != "opentelemetry.metrics._internal.instrument":
            return None
        real = getattr(self._instrument, "_real_instrument", None)
        if real is not None:
            self._instead = recorder_of(real)
        return self._instead
