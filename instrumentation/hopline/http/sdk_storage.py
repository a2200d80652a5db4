"""The way of a measurement into the storage of OpenTelemetry's SDK; imported only with a release that has been read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Mapping, Sequence
from time import time_ns
from types import SimpleNamespace
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.metrics import ExemplarFilter
from opentelemetry.sdk.metrics._internal import _view_instrument_match as of_views
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
from opentelemetry.sdk.metrics._internal.view import _default_reservoir_factory
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, get_current_span
from opentelemetry.trace.propagation import _SPAN_KEY

from hopline._combining import Combiner
from hopline._guard import guard
from hopline.http.series import Recorder, Series

_LARGEST = 1e300
_EXEMPLAR_AGE = 100_000_000  # nanoseconds
_NOWHERE = Context()

# An amount, when it was measured, its series, its span, and the views that there were.
_Waiting = tuple[float, int, Series, SpanContext, Sequence[Any]]
# What the SDK is to store in its own way: an amount, its series and its whole context.
_Unusual = tuple[float, None, Series, Context, None]


def _key_before_1_45(attributes: Mapping[str, Hashable]) -> Hashable:
    return frozenset(attributes.items())


_key_of = getattr(of_views, "_hash_attributes", _key_before_1_45)
_OVERFLOW_KEY = getattr(of_views, "_OVERFLOW_KEY", None)  # since 1.45.2


def is_usual(instrument: Any) -> bool:
    """Whether measurements of one of the SDK's instruments go to the SDK's own storage, by its own filter."""
    consumer = instrument._measurement_consumer
    return (
        type(consumer) is SynchronousMeasurementConsumer
        and type(consumer._sdk_config.exemplar_filter).__module__ == ExemplarFilter.__module__
    )


def shortcut_of(instrument: Any, plain: Recorder) -> Recorder:
    """The one shortcut into an instrument; it lives as its provider does, so that nothing of what waits is lost."""
    shortcuts = _settling_of(instrument._measurement_consumer).shortcuts
    return shortcuts.get(instrument) or shortcuts.setdefault(instrument, Shortcut(instrument, plain))


class Shortcut:
    """Records into one of the SDK's instruments: many measurements at once, with the keys of series ready-made.

    It does what the SDK does with the SDK's own parts, in a quarter of the instructions, for it checks no attributes
    and makes no keys. What is out of the ordinary is left to the SDK: a series that is not there yet or that a view
    takes attributes from, aggregations and reservoirs that are not the SDK's own, an amount that may be refused.

    Args:
        instrument: the instrument.
        plain: records into it in its own way.
    """

    __slots__ = (
        "_consumer",
        "_instrument",
        "_is_eligible",
        "_is_enabled",
        "_measurements",
        "_plain",
        "_read",
        "_views",
    )

    def __init__(self, instrument: Any, plain: Recorder) -> None:
        self._instrument = instrument
        self._plain = plain
        self._consumer = instrument._measurement_consumer
        self._is_eligible = self._consumer._sdk_config.exemplar_filter.should_sample
        self._is_enabled = getattr(instrument, "_is_enabled", None)  # since 1.41
        self._read: object = None
        self._views: Sequence[Any] | None = None
        self._measurements = Combiner(self._store)

    def is_read(self) -> bool:
        """Whether there is a reader for what is recorded."""
        return bool(self._consumer._reader_storages)

    def record(self, amount: float, series: Series, context: Context | None = None) -> None:
        """Record one measurement, as :meth:`Recorder.record` has it."""
        if self._read is not self._consumer._reader_storages:
            guard(self._find_views)
        views = self._views
        if views is None or not 0 <= amount < _LARGEST:
            whole = get_current() if context is None else context
            self._measurements.bring((amount, None, series, whole, None), at_once=True)
        elif self._is_enabled is None or self._is_enabled():
            # Not the context: while the measurement waits, it would keep a call alive that is over, and its request.
            # What get_current_span returns, 0.2 µs sooner.
            span: Any = get_current_span() if context is None else context.get(_SPAN_KEY, INVALID_SPAN)
            is_known = (len(views) == 1 and series.place[0] is views[0]) or _is_known(series, views)
            self._measurements.bring((amount, time_ns(), series, span.get_span_context(), views), at_once=not is_known)

    def settle(self) -> None:
        """Have stored what waits, before this returns."""
        self._measurements.settle()

    def _find_views(self) -> None:
        storages = self._read = self._consumer._reader_storages  # another one when a reader comes or goes, since 1.43
        self._views = None
        found = [
            view
            for storage in storages.values()
            for view in storage._get_or_init_view_instrument_match(self._instrument)
        ]
        self._views = found if all(map(_is_usual_view, found)) else None

    def _store(self, measurements: Iterator[_Waiting | _Unusual]) -> None:
        for measurement in measurements:
            if measurement[4] is None:
                amount, _, series, context, _ = measurement
                self._plain.record(amount, series, context)
            else:
                self._store_usual(measurement)

    def _store_usual(self, measurement: _Waiting) -> None:
        _, _, series, _, views = measurement
        for view in views:
            known, aggregation = series.place
            if known is not view:
                aggregation = _find(view, series)
            if aggregation is not None:
                self._add_up(aggregation, measurement)
            elif view._view._attribute_keys is None and _resets(view):
                with view._lock:  # a collection takes away what is added up
                    self._add_up(view._get_or_create_aggregation(series.key, dict(series)), measurement)
            else:
                view.consume_measurement(*self._whole(measurement))

    def _add_up(self, aggregation: Any, measurement: _Waiting) -> None:
        amount, now, series, span, _ = measurement
        if _is_due(aggregation, amount, now):
            context = _context_of(span)
            is_eligible = self._is_eligible(amount, now, series, context)
            # The series itself, which the SDK only reads: a copy for each exemplar would be kept with it.
            offered: Any = SimpleNamespace(value=amount, time_unix_nano=now, attributes=series, context=context)
            aggregation.aggregate(offered, is_eligible)
        else:
            # Of a measurement that is to be no exemplar the SDK reads nothing else.
            aggregation.aggregate(SimpleNamespace(value=amount), False)

    def _whole(self, measurement: _Waiting) -> tuple[Measurement, bool]:
        amount, now, series, span, _ = measurement
        context = _context_of(span)
        whole = object.__new__(Measurement)  # whose own __init__ would check the attributes
        whole.__dict__.update(
            value=amount,
            time_unix_nano=now,
            instrument=self._instrument,
            context=context,
            attributes=dict(series),
        )
        return whole, self._is_eligible(amount, now, series, context)


class _Settling:
    """Stands among the asynchronous instruments of a consumer: they are asked before what is stored is collected.

    Attributes:
        shortcuts: what may have something waiting, by the instrument.
    """

    def __init__(self) -> None:
        self.shortcuts: dict[Any, Shortcut] = {}

    def callback(self, options: object) -> Sequence[Measurement]:
        """Have stored what waits; there is nothing to observe."""
        for shortcut in list(self.shortcuts.values()):
            shortcut.settle()
        return ()


def _settling_of(consumer: Any) -> _Settling:
    asked = consumer._async_instruments
    found = next((each for each in asked if type(each) is _Settling), None)
    if found is None:
        found = _Settling()
        # In one step, without the lock of the consumer, which has it while it calls the application's callbacks.
        asked.append(found)
    return found


def _is_usual_view(view: Any) -> bool:
    """Whether a view adds up by the SDK's own means, which read no more of a context than its span's ids."""
    return (
        type(view._aggregation).__module__ == _ExplicitBucketHistogramAggregation.__module__
        and view._view._exemplar_reservoir_factory is _default_reservoir_factory
    )


def _is_known(series: Series, views: Sequence[Any]) -> bool:
    # One that is new is stored at once, for its start time is when it is first stored; unless the view has reset, when
    # it is that of the collection (since 1.45.2).
    return all(
        _find(view, series) is not None or getattr(view, "_previous_collection_start_nanos", None) is not None
        for view in views
    )


def _context_of(span: SpanContext) -> Context:
    return Context({_SPAN_KEY: NonRecordingSpan(span)}) if span.is_valid else _NOWHERE


def _find(view: Any, series: Series) -> Any:
    """Where one of the SDK's views adds a series up; None where the view is to see to it by itself."""
    if series.key is None:
        series.key = _key_of(series)
    aggregation = view._attributes_aggregation.get(series.key)
    if aggregation is None and view._view._attribute_keys is None:
        # There once a view has as many series as it may have: those that it has not are one from then on.
        aggregation = view._attributes_aggregation.get(_OVERFLOW_KEY)
    if aggregation is None or _resets(view):
        return None
    if series.place[0] is None:
        series.place = (view, aggregation)  # for good: what a view has not reset it keeps
    return aggregation


def _resets(view: Any) -> bool:
    """Whether a view has nothing left after a collection."""
    return getattr(view, "_reset_on_collect", False)  # since 1.45.2


def _is_due(aggregation: Any, amount: float, now: int) -> bool:
    """Whether the exemplar of a measurement's bucket is an older one, or there is none.

    The SDK has each measurement take the place of the one before, for 17,000 instructions: here the exemplar that is
    collected is one of the last 0.1 s.
    """
    if type(aggregation) is not _ExplicitBucketHistogramAggregation:
        return True
    reservoir: Any = aggregation._reservoir
    bucket = reservoir._reservoir_storage.get(bisect_left(aggregation._boundaries, amount))
    return bucket is None or now - bucket._ExemplarBucket__time_unix_nano >= _EXEMPLAR_AGE
