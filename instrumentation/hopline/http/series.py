"""Measurements whose attributes are prepared once: the SDK itself checks and hashes them anew each time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Hashable, Mapping
from threading import Lock
from time import time_ns
from typing import Any, Protocol
from weakref import WeakSet

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Counter, Histogram

Value = str | int | float | bool

# The last release of the SDK whose storage of measurements has been read: later ones go their own way, until then.
_KNOWN = [1, 45]

# Beyond this bound, which only a great many classes of errors reach, they are made anew each time.
_MAX_EXTENDED = 16


class Series(dict[str, Value]):
    """The attributes of any number of measurements. It must not be changed.

    Attributes:
        key: what the SDK keeps the series by; None until it is first recorded there.
    """

    __slots__ = ("_extended", "key")

    def __init__(self, attributes: Mapping[str, Value]) -> None:
        super().__init__(attributes)
        self.key: Hashable = None
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
            amount: what was measured, or how much the counter goes up; finite and not negative.
            series: its attributes.
            context: an exemplar leads to the span that is current in it (default: the current context).
        """


def recorder_of(instrument: Histogram | Counter) -> Recorder:
    """The recorder for an instrument, of any implementation of the API."""
    if type(instrument).__module__ == "opentelemetry.sdk.metrics._internal.instrument":
        from opentelemetry.sdk.version import __version__

        if [int(part) for part in __version__.split(".")[:2]] <= _KNOWN:
            return _Shortcut(instrument)
    return _Plain(instrument)


class _Plain:
    """Passes measurements on to the instrument as they are."""

    __slots__ = ("_instead", "_instrument")

    def __init__(self, instrument: Histogram | Counter) -> None:
        self._instrument = instrument
        self._instead: Recorder | None = None

    def is_read(self) -> bool:
        return self._instead is None or self._instead.is_read()

    def record(self, amount: float, series: Series, context: Context | None = None) -> None:
        if self._instead is None:
            # The API hands out stand-ins until there is a provider.
            real = getattr(self._instrument, "_real_instrument", None)
            self._instead = None if real is None else recorder_of(real)
        if self._instead is not None:
            self._instead.record(amount, series, context)
        elif isinstance(self._instrument, Histogram):
            self._instrument.record(amount, series, context)
        else:
            self._instrument.add(amount, series, context)


_shortcuts: WeakSet[_Shortcut] = WeakSet()


class _Shortcut:
    """The way of a measurement through the SDK, with the key of its series ready-made.

    It is the SDK's own way, part for part: 27,000 instructions in place of 97,000, for it copies no attributes and
    makes no key of them. A series that is not there yet, or that a view takes attributes from, is left to the SDK.

    A thread that comes while another is at the storage leaves its measurement to that one. Were it to wait for the
    SDK's lock, the two would hand each other the interpreter's with every measurement from then on: with 8 threads
    that takes 0.8 switches of threads a call, in place of 0.1.
    """

    __slots__ = (
        "__weakref__",
        "_consumer",
        "_filter",
        "_instrument",
        "_is_enabled",
        "_key_of",
        "_measurement",
        "_storing",
        "_waiting",
    )

    def __init__(self, instrument: Any) -> None:
        from opentelemetry.sdk.metrics._internal import _view_instrument_match as views
        from opentelemetry.sdk.metrics._internal.measurement import Measurement

        self._instrument = instrument
        self._consumer = instrument._measurement_consumer
        self._filter = self._consumer._sdk_config.exemplar_filter
        self._is_enabled = getattr(instrument, "_is_enabled", None)
        self._measurement = Measurement
        self._key_of = getattr(views, "_hash_attributes", _key_before_1_45)
        self.begin_anew()
        _shortcuts.add(self)

    def begin_anew(self) -> None:
        """Have nobody at the storage and nothing left to store, as it is in a child process."""
        self._storing = Lock()
        self._waiting: deque[tuple[float, int, Series, Context]] = deque()

    def is_read(self) -> bool:
        return bool(self._consumer._reader_storages)

    def record(self, amount: float, series: Series, context: Context | None = None) -> None:
        if self._is_enabled is not None and not self._is_enabled():
            return
        waiting, storing = self._waiting, self._storing
        waiting.append((amount, time_ns(), series, get_current() if context is None else context))
        while waiting and storing.acquire(blocking=False):
            try:
                while waiting:
                    self._store(*waiting.popleft())
            finally:
                storing.release()

    def _store(self, amount: float, now: int, series: Series, context: Context) -> None:
        if series.key is None:
            series.key = self._key_of(series)
        is_exemplar = self._filter.should_sample(amount, now, series, context)
        measurement: Any = object.__new__(self._measurement)  # whose own __init__ would check the attributes
        measurement.__dict__.update(
            value=amount, time_unix_nano=now, instrument=self._instrument, context=context, attributes=series
        )
        for storage in self._consumer._reader_storages.values():
            for view in storage._get_or_init_view_instrument_match(self._instrument):
                with view._lock:  # a collection may drop series that it has reported
                    aggregation = view._attributes_aggregation.get(series.key)
                    if aggregation is not None:
                        aggregation.aggregate(measurement, is_exemplar)
                if aggregation is None:
                    view.consume_measurement(measurement, is_exemplar)


def _after_fork() -> None:
    # Whoever was at the storage is not in the child; what waited there is stored by the parent.
    for shortcut in list(_shortcuts):
        shortcut.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _key_before_1_45(attributes: Mapping[str, Hashable]) -> Hashable:
    return frozenset(attributes.items())
