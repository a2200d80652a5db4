"""Measurements with prepared attributes: readers get what the SDK's own way would have given them."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from unittest.mock import MagicMock

import opentelemetry.sdk.version
import pytest
from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram, MeterProvider, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics._internal._view_instrument_match import _ViewInstrumentMatch
from opentelemetry.sdk.metrics._internal.aggregation import _Aggregation
from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context, use_span

from hopline.http.recorders import recorder_of
from hopline.http.series import Series
from tests.telemetry import known_release, points_of

ATTRIBUTES = {"method": "GET", "port": 80, "share": 0.5, "cached": True}
DELTA = {Histogram: AggregationTemporality.DELTA}


@pytest.fixture
def make_provider():
    made = []

    def make(*readers, **settings):
        made.append(MeterProvider(readers, shutdown_on_exit=False, **settings))
        return made[-1]

    yield make
    for provider in made:
        provider.shutdown()


def histogram_of(provider, name="duration"):
    return provider.get_meter("test").create_histogram(name, explicit_bucket_boundaries_advisory=[1, 10])


def points(reader, name="duration"):
    """What a reader collects of a histogram, without the times."""
    told = ("attributes", "count", "sum", "value", "min", "max", "bucket_counts", "explicit_bounds", "scale")
    return [{word: getattr(point, word) for word in told if hasattr(point, word)} for point in points_of(reader, name)]


def point_of(reader):
    """The one data point that a reader collects."""
    (point,) = points_of(reader, "duration")
    return point


def exemplars(reader):
    return [
        (found.value, found.filtered_attributes, found.trace_id, found.span_id) for found in point_of(reader).exemplars
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"views": [View(instrument_name="duration", attribute_keys={"method"})]},
        {"views": [View(instrument_name="duration", aggregation=DropAggregation())]},
        {"views": [View(instrument_name="duration", aggregation=SumAggregation())]},
        {"views": [View(instrument_name="duration", aggregation=ExponentialBucketHistogramAggregation())]},
        {"views": [View(instrument_name="duration"), View(instrument_name="duration", name="other")]},
    ],
    ids=["no view", "fewer attributes", "dropped", "a sum", "exponential", "two views"],
)
def test_a_reader_gets_what_it_gets_of_the_histogram_itself(make_provider, settings):
    ours, theirs = InMemoryMetricReader(), InMemoryMetricReader()
    recorder, histogram = (
        recorder_of(histogram_of(make_provider(ours, **settings))),
        histogram_of(make_provider(theirs, **settings)),
    )
    first, second = Series(ATTRIBUTES), Series({"method": "POST"})

    for amount in (0.5, 3, 20.0):
        recorder.record(amount, first)
        histogram.record(amount, dict(first))
    recorder.record(7, second)
    histogram.record(7, dict(second))

    assert points(ours) == points(theirs)
    assert points(ours, "other") == points(theirs, "other")


def test_a_reader_gets_what_it_gets_of_the_counter_itself(make_provider):
    ours, theirs = InMemoryMetricReader(), InMemoryMetricReader()
    counters = [make_provider(reader).get_meter("test").create_counter("duration") for reader in (ours, theirs)]
    recorder, known = recorder_of(counters[0]), Series(ATTRIBUTES)

    for amount in (1, 2):
        recorder.record(amount, known)
        counters[1].add(amount, dict(known))

    assert points(ours) == points(theirs) != []


def test_a_series_of_two_histograms_is_added_up_in_each(make_provider):
    reader = InMemoryMetricReader()
    provider = make_provider(reader)
    durations, sizes, known = (
        recorder_of(histogram_of(provider)),
        recorder_of(histogram_of(provider, "size")),
        Series(ATTRIBUTES),
    )

    for amount in (1, 2, 4):
        durations.record(amount, known)
        sizes.record(amount * 100, known)

    assert [point["sum"] for name in ("duration", "size") for point in points(reader, name)] == [7, 700]


def test_a_series_goes_on_with_the_next_provider(make_provider):
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    known = Series(ATTRIBUTES)

    for reader in (first, second):
        recorder = recorder_of(histogram_of(make_provider(reader)))
        for amount in (1, 2, 4):
            recorder.record(amount, known)

    assert [point_of(reader).sum for reader in (first, second)] == [7, 7]


class Kept(_Aggregation):
    """An aggregation of the user's own, which keeps all that it is told of each measurement."""

    def __init__(self, attributes):
        super().__init__(attributes, SimpleFixedSizeExemplarReservoir)
        self.told = []

    def aggregate(self, measurement, should_sample_exemplar=True):
        self.told.append((measurement.value, measurement.attributes, measurement.instrument.name))

    def collect(self, collection_aggregation_temporality, collection_start_nano):
        return None


class Keeping(Aggregation):
    def __init__(self):
        self.made = []

    def _create_aggregation(self, instrument, attributes, *_):
        self.made.append(Kept(attributes))
        return self.made[-1]


def test_an_aggregation_of_the_users_own_gets_all_of_each_measurement(make_provider):
    keeping = Keeping()
    provider = make_provider(InMemoryMetricReader(), views=[View(instrument_name="duration", aggregation=keeping)])
    recorder, known = recorder_of(histogram_of(provider)), Series(ATTRIBUTES)

    for amount in (1, 2, 4):
        recorder.record(amount, known)

    assert keeping.made[-1].told == [(amount, ATTRIBUTES, "duration") for amount in (1, 2, 4)]


@known_release
def test_what_a_finalizer_measures_waits_for_the_next_measurement(make_provider):
    keeping = Keeping()
    provider = make_provider(InMemoryMetricReader(), views=[View(instrument_name="duration", aggregation=keeping)])
    recorder, known, before = recorder_of(histogram_of(provider)), Series(ATTRIBUTES), []
    recorder.record(1, known)

    class Dropped:
        def __del__(self):
            recorder.record(2, known)
            before.extend(keeping.made[-1].told)

    dropped = Dropped()
    dropped.itself = dropped
    del dropped
    gc.collect()
    recorder.record(4, known)

    assert [value for value, *_ in before] == [1]
    assert [value for value, *_ in keeping.made[-1].told] == [1, 2, 4]


def test_a_series_is_extended_once_for_each_value():
    known = Series({"method": "GET"})

    assert known.extended("outcome", "consumed") == {"method": "GET", "outcome": "consumed"}
    assert known.extended("outcome", "consumed") is known.extended("outcome", "consumed")
    assert known.extended("outcome", "closed") == {"method": "GET", "outcome": "closed"}
    assert known == {"method": "GET"}


def test_only_so_many_extensions_of_a_series_are_kept():
    known = Series({"method": "GET"})

    for number in range(100):
        assert known.extended("outcome", number) == {"method": "GET", "outcome": number}

    assert len(known._extended) < 100


def test_each_reader_gets_every_measurement(make_provider):
    cumulative, delta = InMemoryMetricReader(), InMemoryMetricReader(preferred_temporality=DELTA)
    recorder, known = recorder_of(histogram_of(make_provider(cumulative, delta))), Series(ATTRIBUTES)
    counts = []

    for _ in range(3):
        recorder.record(1, known)
        recorder.record(2, known)
        counts.append([point["count"] for reader in (cumulative, delta) for point in points(reader)])

    assert counts == [[2, 2], [4, 2], [6, 2]]


@pytest.mark.parametrize("kept", [None, {"host"}, {"method"}], ids=["all", "the host", "the method"])
def test_series_beyond_the_sdks_limit_are_one_as_in_the_sdk(make_provider, kept):
    ours, theirs = InMemoryMetricReader(), InMemoryMetricReader()
    views = [View(instrument_name="duration", attribute_keys=kept)]
    recorder = recorder_of(histogram_of(make_provider(ours, views=views)))
    histogram = histogram_of(make_provider(theirs, views=views))
    hosts = [Series({"host": number, "method": "GET"}) for number in range(2100)]

    for known in (*hosts, *hosts, *hosts):
        recorder.record(1, known)
        histogram.record(1, dict(known))

    assert points(ours) == points(theirs)


def test_an_exemplar_leads_to_the_span_of_the_context(make_provider):
    reader = InMemoryMetricReader()
    recorder, known = recorder_of(histogram_of(make_provider(reader))), Series(ATTRIBUTES)
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("caller")

    recorder.record(0.5, known)
    recorder.record(3, known, set_span_in_context(span))

    assert exemplars(reader) == [(3, {}, span.get_span_context().trace_id, span.get_span_context().span_id)]


def test_an_exemplar_takes_the_place_of_one_that_is_older_than_a_tenth_of_a_second(make_provider, monkeypatch):
    moments = iter([100, 100_000_099, 100_000_100, 200_000_000])
    monkeypatch.setattr("hopline.http.sdk_storage.time_ns", lambda: next(moments))
    reader = InMemoryMetricReader()
    provider = make_provider(reader, exemplar_filter=AlwaysOnExemplarFilter())
    recorder, known = recorder_of(histogram_of(provider)), Series(ATTRIBUTES)

    for amount in (5, 6, 7, 8):
        recorder.record(amount, known)

    assert [value for value, *_ in exemplars(reader)] == [7]


def test_an_exemplar_that_is_collected_makes_place_for_the_next(make_provider):
    reader = InMemoryMetricReader(preferred_temporality=DELTA)
    provider = make_provider(reader, exemplar_filter=AlwaysOnExemplarFilter())
    recorder, known = recorder_of(histogram_of(provider)), Series(ATTRIBUTES)

    recorder.record(5, known)
    before = exemplars(reader)
    recorder.record(6, known)

    assert [value for value, *_ in (*before, *exemplars(reader))] == [5, 6]


def test_the_providers_own_exemplar_filter_is_asked(make_provider):
    reader = InMemoryMetricReader()
    provider = make_provider(reader, exemplar_filter=AlwaysOnExemplarFilter())
    recorder, known = recorder_of(histogram_of(provider)), Series(ATTRIBUTES)

    recorder.record(0.5, known)
    recorder.record(3, known)

    assert [value for value, *_ in exemplars(reader)] == [0.5, 3]


def test_no_measurement_is_lost_while_other_threads_record_and_collect(make_provider, often_switched):
    reader = InMemoryMetricReader(preferred_temporality=DELTA)
    recorder, known = recorder_of(histogram_of(make_provider(reader))), Series(ATTRIBUTES)

    def record():
        for _ in range(5_000):
            recorder.record(1, known)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    collected = 0
    while any(thread.is_alive() for thread in threads):
        collected += sum(point["count"] for point in points(reader))
    for thread in threads:
        thread.join()
    collected += sum(point["count"] for point in points(reader))

    assert collected == 20_000


def waiting(recorder, context=None):
    """Has a measurement wait, of 3, behind one that began the series; what follows is of the same series."""
    known = Series(ATTRIBUTES)
    recorder.record(0.5, known)
    recorder.record(3, known, context)
    return known


def test_a_collection_has_what_waits(make_provider):
    reader = InMemoryMetricReader()

    waiting(recorder_of(histogram_of(make_provider(reader))))

    assert [(point["count"], point["sum"]) for point in points(reader)] == [(2, 3.5)]


def test_what_waits_keeps_its_own_time_and_span(make_provider):
    reader = InMemoryMetricReader()
    recorder = recorder_of(histogram_of(make_provider(reader)))
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("caller")

    with use_span(span):
        waiting(recorder)
    returned = time.time_ns()

    told = {found.value: found for found in point_of(reader).exemplars}[3]
    assert told.span_id == span.get_span_context().span_id
    assert told.time_unix_nano <= returned


def test_what_waits_keeps_nothing_else_of_its_context(make_provider):
    class Call:
        pass

    call = Call()
    recorder = recorder_of(histogram_of(make_provider(InMemoryMetricReader())))

    waiting(recorder, Context(call=call))
    left = weakref.ref(call)
    del call

    assert left() is None


def test_what_waits_is_told_though_nobody_has_the_recorder_any_more(make_provider):
    reader = InMemoryMetricReader()
    provider = make_provider(reader)

    waiting(recorder_of(histogram_of(provider)))
    gc.collect()

    assert [point["count"] for point in points(reader)] == [2]


def test_a_series_begins_when_it_is_first_measured(make_provider):
    reader = InMemoryMetricReader()
    durations, sizes = map(recorder_of, map(partial(histogram_of, make_provider(reader)), ("duration", "size")))
    known = waiting(durations)

    sizes.record(1, known)
    returned = time.time_ns()

    assert [points_of(reader, name)[0].start_time_unix_nano <= returned for name in ("duration", "size")] == [True] * 2


def test_a_delta_begins_where_the_one_before_has_ended(make_provider):
    reader = InMemoryMetricReader(preferred_temporality=DELTA)
    recorder = recorder_of(histogram_of(make_provider(reader)))
    known = waiting(recorder)

    first = point_of(reader)
    recorder.record(20, known)
    second = point_of(reader)

    assert (second.sum, second.start_time_unix_nano) == (20, first.time_unix_nano)


def test_a_filter_of_the_users_own_is_asked_at_once_with_the_whole_context(make_provider):
    asked = []

    class Filter(AlwaysOnExemplarFilter):
        def should_sample(self, value, time_unix_nano, attributes, context):
            asked.append((value, context.get("tenant")))
            return True

    recorder = recorder_of(histogram_of(make_provider(InMemoryMetricReader(), exemplar_filter=Filter())))

    waiting(recorder, Context(tenant="acme"))

    assert asked == [(0.5, None), (3, "acme")]


def test_a_reservoir_of_the_users_own_is_offered_all_at_once_with_the_whole_context(make_provider):
    offered = []

    class Reservoir(SimpleFixedSizeExemplarReservoir):
        def offer(self, value, time_unix_nano, attributes, context):
            offered.append((value, context.get("tenant")))

    view = View(instrument_name="duration", exemplar_reservoir_factory=lambda _: lambda **_: Reservoir())
    provider = make_provider(InMemoryMetricReader(), views=[view], exemplar_filter=AlwaysOnExemplarFilter())

    waiting(recorder_of(histogram_of(provider)), Context(tenant="acme"))

    assert offered == [(0.5, None), (3, "acme")]


@pytest.mark.skipif(not hasattr(MeterProvider, "add_metric_reader"), reason="readers can come later from 1.43 on")
def test_a_reader_that_comes_later_gets_what_is_measured_from_then_on(make_provider):
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    provider = make_provider(first)
    recorder = recorder_of(histogram_of(provider))
    known = waiting(recorder)

    provider.add_metric_reader(second)
    recorder.record(20, known)

    assert [point_of(reader).sum for reader in (first, second)] == [23.5, 20]


@pytest.mark.parametrize("amount", [-1, 0, float("nan"), float("inf"), 10**400])
def test_an_amount_that_may_be_refused_is_the_sdks_affair(make_provider, amount):
    ours, theirs = InMemoryMetricReader(), InMemoryMetricReader()
    recorder, histogram = recorder_of(histogram_of(make_provider(ours))), histogram_of(make_provider(theirs))
    known = Series(ATTRIBUTES)

    for one in (1, amount, 2):
        with suppress(OverflowError):
            recorder.record(one, known)
        with suppress(OverflowError):
            histogram.record(one, dict(known))

    assert repr(points(ours)) == repr(points(theirs))


@pytest.mark.skipif(not hasattr(SdkHistogram, "_is_enabled"), reason="meters can be disabled from 1.41 on")
def test_what_is_disabled_records_nothing(make_provider, monkeypatch):
    reader = InMemoryMetricReader()
    monkeypatch.setattr(SdkHistogram, "_is_enabled", lambda self: False)

    recorder_of(histogram_of(make_provider(reader))).record(1, Series(ATTRIBUTES))

    assert points(reader) == []


def test_a_value_of_another_type_is_told_as_text(make_provider):
    class Lazy:
        def __init__(self, text):
            self.text = text

        def __str__(self):
            return self.text

    reader = InMemoryMetricReader()
    recorder = recorder_of(histogram_of(make_provider(reader)))

    for text in ("one", "two"):
        recorder.record(1, Series({"template": Lazy(text)}))

    assert [point["attributes"] for point in points(reader)] == [{"template": "one"}, {"template": "two"}]


def test_who_changes_what_is_exported_does_not_change_the_series(make_provider):
    reader = InMemoryMetricReader()
    recorder, known = recorder_of(histogram_of(make_provider(reader))), Series(ATTRIBUTES)
    recorder.record(1, known)

    point_of(reader).attributes["method"] = "changed"

    assert known == ATTRIBUTES


def test_it_is_read_where_there_is_a_reader_or_nobody_can_tell(make_provider):
    read, unread = make_provider(InMemoryMetricReader()), make_provider()

    assert recorder_of(histogram_of(read)).is_read()
    assert not recorder_of(histogram_of(unread)).is_read()
    assert recorder_of(NoOpMeter("test").create_histogram("duration")).is_read()


class ForeignHistogram(metrics.Histogram):
    def __init__(self):
        self.got = []

    def record(self, amount, attributes=None, context=None):
        self.got.append((amount, attributes))


class ForeignCounter(metrics.Counter):
    def __init__(self):
        self.got = []

    def add(self, amount, attributes=None, context=None):
        self.got.append((amount, attributes))


@pytest.mark.parametrize("foreign", [ForeignHistogram(), ForeignCounter()], ids=["histogram", "counter"])
def test_any_other_implementation_gets_its_measurements(foreign):
    recorder_of(foreign).record(1, Series(ATTRIBUTES))

    assert foreign.got == [(1, ATTRIBUTES)]


def test_a_test_double_gets_its_measurements():
    double = MagicMock(metrics.Histogram)

    recorder_of(double).record(1, Series(ATTRIBUTES))

    double.record.assert_called_once_with(1, ATTRIBUTES, None)


def test_a_consumer_of_the_users_own_gets_its_measurements(make_provider):
    class Consumer(SynchronousMeasurementConsumer):
        def __init__(self):
            self.got = []

        def consume_measurement(self, measurement):
            self.got.append(measurement.value)

    histogram, consumer = histogram_of(make_provider()), Consumer()
    histogram._measurement_consumer = consumer

    recorder_of(histogram).record(1, Series(ATTRIBUTES))

    assert consumer.got == [1]


@known_release
def test_the_sdk_is_asked_once_for_a_series_that_it_knows(make_provider, monkeypatch):
    recorder, known = recorder_of(histogram_of(make_provider(InMemoryMetricReader()))), Series(ATTRIBUTES)
    consume, asked = _ViewInstrumentMatch.consume_measurement, []

    def count(self, measurement, *told):
        asked.append(measurement.value)
        consume(self, measurement, *told)

    monkeypatch.setattr(_ViewInstrumentMatch, "consume_measurement", count)

    for amount in (1, 2, 3):
        recorder.record(amount, known)

    assert asked == [1]


@pytest.mark.parametrize("release", ["1.45.999", "1.46.0", "2.0.0", "1.46rc1", "2.0b0", "unknown"])
def test_a_release_of_the_sdk_that_nobody_has_read_goes_its_own_way(make_provider, monkeypatch, release):
    monkeypatch.setattr(opentelemetry.sdk.version, "__version__", release)
    monkeypatch.setitem(sys.modules, "hopline.http.sdk_storage", None)  # it may not be possible to import it, either
    histogram = histogram_of(make_provider(InMemoryMetricReader()))
    own = []
    monkeypatch.setattr(type(histogram), "record", lambda self, *told: own.append(told))

    recorder_of(histogram).record(1, Series(ATTRIBUTES))

    assert own == [(1, ATTRIBUTES, None)]


def test_a_stand_in_passes_measurements_on_once_there_is_a_provider(make_provider):
    reader = InMemoryMetricReader()
    proxy = metrics._internal._ProxyMeterProvider()
    recorder, known = recorder_of(histogram_of(proxy)), Series(ATTRIBUTES)

    recorder.record(1, known)
    proxy.on_set_meter_provider(make_provider(reader))
    recorder.record(2, known)
    recorder.record(3, known)

    assert [(point["count"], point["sum"]) for point in points(reader)] == [(2, 5)]
