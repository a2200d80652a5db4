from decimal import Decimal
from fractions import Fraction

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from hopline_statsd import StatsdMetricExporter
from hopline_statsd.parse import parse_line
from hopline_statsd.rules import MetricRule, Naming
from hopline_statsd.rulesets import DEFAULT


class Metrics:
    """A meter whose metrics are sent to the listener when asked for."""

    def __init__(self, config, views=(), preferred=None):
        self.exporter = StatsdMetricExporter(config)
        if preferred is not None:
            self.exporter._preferred_temporality = preferred
        self.reader = PeriodicExportingMetricReader(self.exporter, export_interval_millis=float("inf"))
        resource = Resource({"service.name": "shop"})
        self.provider = MeterProvider([self.reader], resource, shutdown_on_exit=False, views=list(views))
        self.meter = self.provider.get_meter("tests")

    def lines(self, listener, count):
        assert self.provider.force_flush()
        assert listener.wait_for(count)
        assert len(listener.lines) == count
        return sorted(listener.lines)


@pytest.fixture
def make_metrics(make_config):
    made = []

    def make(views=(), preferred=None, **settings):
        made.append(Metrics(make_config(**settings), views, preferred))
        return made[-1]

    yield make
    for metrics in made:
        metrics.provider.shutdown()


def test_a_counter_sends_what_was_added_since_the_last_time(make_metrics, listener):
    metrics = make_metrics()
    jobs = metrics.meter.create_counter("jobs.done")

    jobs.add(3)
    assert metrics.lines(listener, 1) == ["my.prefix.jobs.done:3|c"]
    jobs.add(2.5)

    assert metrics.lines(listener, 2)[0] == "my.prefix.jobs.done:2.5|c"


def test_an_observable_counter_sends_the_difference(make_metrics, listener):
    totals = iter([10, 25])
    metrics = make_metrics()
    metrics.meter.create_observable_counter("total", [lambda _: [Observation(next(totals))]])

    metrics.lines(listener, 1)

    assert metrics.lines(listener, 2) == ["my.prefix.total:10|c", "my.prefix.total:15|c"]


def test_up_down_counters_and_gauges_are_gauges_that_are_set(make_metrics, listener):
    metrics = make_metrics()

    def depth(options: CallbackOptions):
        return [Observation(-4)]

    metrics.meter.create_up_down_counter("connections").add(-3)
    metrics.meter.create_gauge("temperature").set(21.5)
    metrics.meter.create_observable_gauge("depth", [depth])

    assert metrics.lines(listener, 5) == [
        "my.prefix.connections:-3|g",
        "my.prefix.connections:0|g",
        "my.prefix.depth:-4|g",
        "my.prefix.depth:0|g",
        "my.prefix.temperature:21.5|g",
    ]
    gauges = {summary.name: summary.mean for summary in listener.summaries()}
    assert gauges == {"my.prefix.connections": -3, "my.prefix.depth": -4, "my.prefix.temperature": 21.5}


def test_a_histogram_is_its_count_sum_least_and_greatest_value(make_metrics, listener):
    metrics = make_metrics()
    size = metrics.meter.create_histogram("size", unit="By")

    for value in (10, 20, 60):
        size.record(value)

    assert metrics.lines(listener, 4) == [
        "my.prefix.size.count:3|c",
        "my.prefix.size.max:60|g",
        "my.prefix.size.min:10|g",
        "my.prefix.size.sum:90|c",
    ]


@pytest.mark.parametrize(
    ("dialect", "count_line"),
    [
        ("plain", "my.prefix.size.FR.x-y.count:1|c"),
        ("dogstatsd", "my.prefix.size.count:1|c|#country:FR,the_host:x/y"),
        ("graphite", "my.prefix.size.count;country=FR;the_host=x_y:1|c"),
    ],
)
def test_attributes_are_tags_or_segments_in_the_order_of_their_names(make_metrics, listener, dialect, count_line):
    metrics = make_metrics(dialect=dialect)

    metrics.meter.create_histogram("size").record(5, {"the host": "x/y", "country": "FR"})

    metrics.provider.force_flush()
    assert listener.wait_for(4)
    assert count_line in listener.lines


def test_an_attribute_named_like_a_derived_field_is_itself(make_metrics, listener):
    metrics = make_metrics(dialect="dogstatsd")

    metrics.meter.create_counter("jobs").add(1, {"host": "a", "server.address": "b"})

    assert metrics.lines(listener, 1) == ["my.prefix.jobs:1|c|#host:a,server.address:b"]


def test_an_attribute_that_datadogs_agent_would_take_away_has_another_key_there(make_metrics, listener):
    metrics = make_metrics(dialect="datadog")

    metrics.meter.create_counter("jobs").add(1, {"host": "a", "hostname": "b"})

    assert metrics.lines(listener, 1) == ["my.prefix.jobs:1|c|#peer.hostname:a,hostname:b"]


@pytest.mark.parametrize("dialect", ["dogstatsd", "datadog"])
@pytest.mark.parametrize("exponential", [False, True])
def test_a_distribution_stands_for_as_many_values_as_were_recorded(make_metrics, listener, dialect, exponential):
    views = [View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())] if exponential else []
    metrics = make_metrics(views, dialect=dialect)
    size = metrics.meter.create_histogram("size")
    values = [0.0, *(float(value) for value in range(1, 1000)), 50_000.0]

    for value in values:
        size.record(value)
    metrics.provider.force_flush()
    assert listener.wait_for(metrics.exporter.stats().lines)

    samples = [parse_line(line) for line in listener.lines]
    stand_ins = [(float(sample.value), 1 / sample.rate) for sample in samples if sample.type == "d"]
    assert sum(count for _, count in stand_ins) == pytest.approx(len(values), abs=1e-6)
    assert all(0.0 <= value <= 50_000.0 for value, _ in stand_ins)
    total = sum(value * count for value, count in stand_ins)
    assert total == pytest.approx(sum(values), rel=0.2 if not exponential else 0.02)


def test_a_server_that_cuts_off_the_fraction_of_one_by_the_rate_counts_each_value(make_metrics, listener):
    metrics = make_metrics(dialect="datadog")
    size = metrics.meter.create_histogram("size")

    for value, count in ((3, 6), (8, 7), (15, 3), (30, 11), (60, 49), (90, 243)):
        for _ in range(count):
            size.record(value)
    metrics.provider.force_flush()
    assert listener.wait_for(metrics.exporter.stats().lines)

    samples = [parse_line(line) for line in listener.lines]
    assert [int(1 / sample.rate) for sample in samples if sample.type == "d"] == [6, 7, 3, 11, 49, 243]


def test_telegraf_gets_no_distributions_as_it_would_throw_them_away(make_metrics, listener):
    metrics = make_metrics(dialect="influx")

    metrics.meter.create_histogram("size").record(5)

    assert [line.rpartition("|")[2] for line in metrics.lines(listener, 4)] == ["c", "g", "g", "c"]


def test_negative_values_of_an_exponential_histogram_stand_below_zero(make_metrics, listener):
    from opentelemetry.sdk.metrics._internal.point import Buckets
    from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint

    from hopline_statsd.buckets import representatives

    point = ExponentialHistogramDataPoint(
        attributes={},
        start_time_unix_nano=0,
        time_unix_nano=0,
        count=3,
        sum=0,
        scale=0,
        zero_count=1,
        positive=Buckets(offset=1, bucket_counts=[1]),
        negative=Buckets(offset=1, bucket_counts=[1]),
        flags=0,
        min=-3.0,
        max=4.0,
    )

    assert list(representatives(point)) == [(-2.5, 1), (0.0, 1), (3.0, 1)]


@pytest.mark.parametrize(
    ("bounds", "counts", "low", "high", "expected"),
    [
        ([10.0], [1, 1], float("inf"), float("-inf"), [(10.0, 1), (10.0, 1)]),
        ([], [4], float("inf"), float("-inf"), [(0.0, 4)]),
        ([10.0], [2, 0], 4.0, 6.0, [(5.0, 2)]),
    ],
)
def test_a_bucket_without_an_end_is_as_long_as_what_is_known(bounds, counts, low, high, expected):
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    from hopline_statsd.buckets import representatives

    point = HistogramDataPoint({}, 0, 0, sum(counts), 0, counts, bounds, low, high)

    assert list(representatives(point)) == expected


def test_a_streamed_body_is_named_by_host_and_method_in_milliseconds(make_metrics, listener):
    metrics = make_metrics()
    attributes = {
        "http.request.method": "GET",
        "server.address": "cdn.example",
        "http.response.status_code": 200,
        "hopline.outcome": "complete",
    }

    metrics.meter.create_histogram("hopline.http.client.body.duration", "s").record(0.25, attributes)
    metrics.meter.create_histogram("hopline.http.client.body.size", "By").record(4096, attributes)

    assert metrics.lines(listener, 8) == [
        "my.prefix.requests.cdn-example.GET.body.duration.count:1|c",
        "my.prefix.requests.cdn-example.GET.body.duration.max:250|g",
        "my.prefix.requests.cdn-example.GET.body.duration.min:250|g",
        "my.prefix.requests.cdn-example.GET.body.duration.sum:250|c",
        "my.prefix.requests.cdn-example.GET.body.size.count:1|c",
        "my.prefix.requests.cdn-example.GET.body.size.max:4096|g",
        "my.prefix.requests.cdn-example.GET.body.size.min:4096|g",
        "my.prefix.requests.cdn-example.GET.body.size.sum:4096|c",
    ]


def test_points_that_share_a_name_share_their_extremes(make_metrics, listener):
    metrics = make_metrics()
    size = metrics.meter.create_histogram("hopline.http.client.body.size", "By")
    common = {"http.request.method": "GET", "server.address": "a"}

    for status, value in ((200, 10), (404, 3), (500, 90)):
        size.record(value, {**common, "http.response.status_code": status})

    lines = metrics.lines(listener, 8)
    assert [line for line in lines if "|g" in line] == [
        "my.prefix.requests.a.GET.body.size.max:90|g",
        "my.prefix.requests.a.GET.body.size.min:3|g",
    ]


def test_a_rule_of_the_user_is_asked_first(make_metrics, listener):
    rule = MetricRule("mine", "jobs.*", Naming("work", {"queue": "{queue|none}"}), {"queue": "!slow"}, scale=2)
    metrics = make_metrics(rules=DEFAULT.extended(metrics=[rule]))

    metrics.meter.create_counter("jobs.done").add(1, {"queue": "fast"})
    metrics.meter.create_counter("jobs.lost").add(1, {"queue": "slow"})

    assert metrics.lines(listener, 2) == ["my.prefix.jobs.lost.slow:1|c", "my.prefix.work.fast:2|c"]


def test_cumulative_sums_and_histograms_are_gauges(make_metrics, listener):
    from opentelemetry.sdk.metrics import Counter, Histogram

    cumulative = dict.fromkeys((Counter, Histogram), AggregationTemporality.CUMULATIVE)
    metrics = make_metrics(preferred=cumulative)

    metrics.meter.create_counter("jobs").add(1)
    metrics.meter.create_histogram("size").record(1)

    assert all(line.endswith("|g") for line in metrics.lines(listener, 5))


def test_a_value_beyond_all_reason_is_dropped_and_counted(make_metrics, listener):
    metrics = make_metrics()
    metrics.meter.create_gauge("a").set(1e16)
    metrics.meter.create_gauge("b").set(-1e300)
    metrics.meter.create_gauge("c").set(1)

    assert metrics.lines(listener, 1) == ["my.prefix.c:1|g"]
    assert metrics.exporter.stats().dropped == {"invalid": 2}


@pytest.mark.parametrize("number", [Decimal, Fraction])
def test_numbers_of_whatever_type_are_measured(make_metrics, listener, number):
    metrics = make_metrics(dialect="dogstatsd")

    metrics.meter.create_counter("jobs").add(number("2.5"))
    metrics.meter.create_histogram("size").record(number("2.5"))

    assert metrics.lines(listener, 6) == [
        "my.prefix.jobs:2.5|c",
        "my.prefix.size.count:1|c",
        "my.prefix.size.max:2.5|g",
        "my.prefix.size.min:2.5|g",
        "my.prefix.size.sum:2.5|c",
        "my.prefix.size:2.5|d",
    ]


def test_a_metric_that_cannot_be_written_costs_no_other(make_metrics, listener, caplog):
    metrics = make_metrics()

    class Unreadable(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise RuntimeError("unreadable")

    metrics.meter.create_counter("a").add(1, {"k": Unreadable("x")})
    metrics.meter.create_counter("b").add(1)

    assert metrics.lines(listener, 1) == ["my.prefix.b:1|c"]
    assert metrics.exporter.stats().dropped == {"error": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_without_a_prefix_the_service_names_the_metrics(make_metrics, listener):
    metrics = make_metrics(prefix=None)

    metrics.meter.create_counter("jobs").add(1)

    assert metrics.lines(listener, 1) == ["shop.jobs:1|c"]


def test_an_export_that_the_server_does_not_take_fails_and_keeps_the_lines(make_metrics, tmp_path):
    metrics = make_metrics(endpoint=f"unix://{tmp_path}/nobody")
    metrics.meter.create_counter("jobs").add(1)

    metrics.provider.force_flush()

    assert metrics.exporter.stats().dropped == {}
    assert not metrics.exporter.force_flush(100)
