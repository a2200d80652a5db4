import logging
import random
import signal
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from hopline_statsd import RecordingSampler, StatsdSpanExporter, StatsdSpanProcessor
from hopline_statsd.rules import Naming, Rule
from hopline_statsd.rulesets import DEFAULT
from tests.hopline_statsd.spans import CALL, end_span, lines_of


def traced(processor, sampler):
    provider = TracerProvider(sampler=processor.recording_sampler(sampler), shutdown_on_exit=False)
    exported = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    provider.add_span_processor(processor)
    return provider.get_tracer("tests"), exported


def test_each_of_100_000_calls_is_counted_though_one_in_a_hundred_is_exported(make_processor, listener):
    processor = make_processor(max_buffer_size=16 * 1024 * 1024)
    tracer, exported = traced(processor, ParentBased(TraceIdRatioBased(0.01)))

    for number in range(100_000):
        tracer.start_span("POST", kind=SpanKind.CLIENT, attributes=CALL).end()
        if number % 5000 == 0:
            processor.force_flush()
            assert listener.wait_for(number)  # the socket of the listener holds only so much

    assert processor.force_flush()
    assert listener.wait_for(100_000)
    (summary,) = listener.summaries()
    assert summary.count == 100_000
    assert 800 < len(exported.get_finished_spans()) < 1200
    assert processor.stats().dropped == {}


def test_a_call_below_a_remote_parent_that_is_not_sampled_is_counted(make_processor, listener):
    processor = make_processor()
    tracer, exported = traced(processor, ParentBased(ALWAYS_ON))
    parent = SpanContext(random.getrandbits(128), random.getrandbits(64), True, TraceFlags(0))
    context = trace.set_span_in_context(NonRecordingSpan(parent))

    span = tracer.start_span("POST", context, kind=SpanKind.CLIENT, attributes=CALL)
    span.end()

    assert lines_of(processor, listener, 1) == [f"my.prefix.requests.somehost-com.POST.200:{ms(span)}|ms"]
    assert exported.get_finished_spans() == ()
    assert not span.get_span_context().trace_flags.sampled
    assert span.get_span_context().trace_id == parent.trace_id


def ms(span):
    return f"{(span.end_time - span.start_time) / 1e6:.3f}"


def test_what_is_sampled_is_exported_as_before(make_processor, listener):
    processor = make_processor()
    tracer, exported = traced(processor, ALWAYS_ON)

    tracer.start_span("POST", kind=SpanKind.CLIENT, attributes=CALL).end()

    assert len(lines_of(processor, listener, 1)) == 1
    assert len(exported.get_finished_spans()) == 1


def test_spans_that_make_no_lines_are_not_recorded_for_nothing(make_processor):
    tracer, _ = traced(make_processor(), ALWAYS_OFF)

    assert not tracer.start_span("work", kind=SpanKind.INTERNAL).is_recording()
    assert tracer.start_span("GET", kind=SpanKind.CLIENT).is_recording()
    assert not tracer.start_span("work").is_recording()


def test_spans_that_a_rule_is_for_are_recorded(make_processor, listener):
    rule = Rule("work", Naming("work"), kinds=("internal",), when={"job": "*"})
    processor = make_processor(rules=DEFAULT.extended([rule]))
    tracer, _ = traced(processor, ALWAYS_OFF)

    tracer.start_span("work", attributes={"job": "x"}).end()

    assert len(lines_of(processor, listener, 1)) == 1


def test_unsampled_calls_can_be_left_out(make_processor):
    processor = make_processor(unsampled=False)

    assert processor.recording_sampler(ALWAYS_OFF) is ALWAYS_OFF


def test_spans_that_another_sampler_records_only_are_left_out_too(make_processor, listener):
    processor = make_processor(unsampled=False)
    provider = TracerProvider(sampler=RecordingSampler(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(processor)

    provider.get_tracer("tests").start_span("POST", kind=SpanKind.CLIENT, attributes=CALL).end()
    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:12.500|ms"]


@pytest.mark.parametrize("unsampled", [True, False])
def test_a_subclass_may_override_on_end_whether_unsampled_calls_are_left_out_or_not(make_config, listener, unsampled):
    class ButHealth(StatsdSpanProcessor):
        def on_end(self, span):
            if span.attributes["server.address"] != "health":
                super().on_end(span)

    processor = ButHealth(make_config(unsampled=unsampled))

    end_span(processor, {**CALL, "server.address": "health"})
    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:12.500|ms"]
    processor.shutdown()


def test_a_recording_sampler_keeps_attributes_and_trace_state():
    sampler = RecordingSampler(ALWAYS_OFF)

    result = sampler.should_sample(None, 1, "x", SpanKind.CLIENT, {"a": 1})

    assert result.decision is Decision.RECORD_ONLY
    assert dict(result.attributes) == {"a": 1}
    assert sampler.get_description() == "Recording{AlwaysOffSampler}"


def test_the_processor_reads_the_environment(monkeypatch, listener):
    monkeypatch.setenv("OTEL_EXPORTER_STATSD_ENDPOINT", listener.endpoint)
    processor = StatsdSpanProcessor()

    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == ["shop.requests.somehost-com.POST.200:12.500|ms"]
    processor.shutdown()


def test_an_exporter_without_arguments_reads_the_environment(monkeypatch, listener):
    monkeypatch.setenv("STATSD_DSN", f"{listener.endpoint}/my.prefix")
    processor = BatchSpanProcessor(StatsdSpanExporter())

    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:12.500|ms"]
    processor.shutdown()


def test_an_exporter_sends_a_batch_and_says_so(make_config, listener):
    exporter = StatsdSpanExporter(make_config())
    spans = InMemorySpanExporter()
    for _ in range(3):
        end_span(SimpleSpanProcessor(spans), CALL)

    assert exporter.export(spans.get_finished_spans()) is SpanExportResult.SUCCESS

    assert listener.wait_for(3)
    assert exporter.stats().lines == 3
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.force_flush()


def test_an_exporter_whose_server_is_away_says_so_and_keeps_the_lines(make_config, tmp_path):
    exporter = StatsdSpanExporter(make_config(endpoint=f"unix://{tmp_path}/nobody"))
    spans = InMemorySpanExporter()
    end_span(SimpleSpanProcessor(spans), CALL)

    assert exporter.export(spans.get_finished_spans()) is SpanExportResult.FAILURE
    assert exporter.stats().dropped == {}
    exporter.shutdown()


def test_an_error_of_our_own_reaches_the_log_once_and_the_application_never(make_processor, caplog):
    processor = make_processor()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            processor.on_end(object())

    assert len(caplog.records) == 1
    assert processor.stats().dropped == {"error": 3}


def test_spans_that_hide_their_attributes_otherwise_are_read_all_the_same(make_processor, listener):
    from opentelemetry.sdk.trace import ReadableSpan

    processor = make_processor()
    span = ReadableSpan("POST", attributes=CALL, kind=SpanKind.CLIENT, start_time=0, end_time=5_000_000)

    processor.on_end(span)

    assert lines_of(processor, listener, 1) == ["my.prefix.requests.somehost-com.POST.200:5.000|ms"]


def test_many_resources_keep_their_prefixes(make_processor, listener):
    processor = make_processor(prefix=None)

    for number in range(40):
        end_span(processor, CALL, service=f"s{number}")

    prefixes = [line.partition(".")[0] for line in lines_of(processor, listener, 40)]
    assert prefixes == [f"s{number}" for number in range(40)]


def test_sampled_lines_are_fewer_but_gauges_are_not(make_processor, listener):
    rules = DEFAULT.extended([Rule("depth", Naming("depth"), type="g", value="depth")])
    processor = make_processor(sample_rate=0.2, rules=rules)

    for _ in range(2000):
        end_span(processor, {**CALL, "depth": 1})
    processor.force_flush()

    assert listener.wait_for(processor.stats().lines)
    counts = {summary.name: summary for summary in listener.summaries()}
    assert counts["my.prefix.depth"].count == 2000
    assert 1500 < counts["my.prefix.requests.somehost-com.POST.200"].count < 2500
    assert any("|ms|@0.2" in line for line in listener.lines)


@pytest.mark.parametrize(("timer_type", "dialect", "written"), [("d", "dogstatsd", "d"), ("h", "plain", "ms")])
def test_timers_have_the_type_that_is_asked_for_where_the_dialect_has_it(
    make_processor, listener, timer_type, dialect, written
):
    processor = make_processor(timer_type=timer_type, dialect=dialect)

    end_span(processor, CALL)

    assert f":12.500|{written}" in lines_of(processor, listener, 1)[0]


@pytest.mark.parametrize(
    ("dialect", "line"),
    [
        ("dogstatsd", "my.prefix.requests:12.500|ms|#host:somehost.com,method:POST,status:200"),
        ("datadog", "my.prefix.requests:12.500|ms|#peer.hostname:somehost.com,method:POST,status:200"),
        ("influx", "my.prefix.requests,host=somehost.com,method=POST,status=200:12.500|ms"),
        ("graphite", "my.prefix.requests;host=somehost.com;method=POST;status=200:12.500|ms"),
        ("librato", "my.prefix.requests#host=somehost.com,method=POST,status=200:12.500|ms"),
        ("signalfx", "my.prefix.requests[host=somehost.com,method=POST,status=200]:12.500|ms"),
    ],
)
def test_host_method_and_status_are_tags_where_there_are_tags(make_processor, listener, dialect, line):
    processor = make_processor(dialect=dialect)

    end_span(processor, CALL)

    assert lines_of(processor, listener, 1) == [line]


def test_its_own_counts_are_metrics(make_config, listener):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    processor = StatsdSpanProcessor(make_config(max_packet_size=64), meter_provider=provider)

    end_span(processor, {**CALL, "peer.service": "h"})
    end_span(processor, CALL)
    end_span(processor, {**CALL, "peer.service": "h" * 60})
    assert processor.force_flush()

    points = {}
    for scope_metrics in reader.get_metrics_data().resource_metrics[0].scope_metrics:
        assert scope_metrics.scope.name == "hopline_statsd.processor"
        for metric in scope_metrics.metrics:
            points[metric.name] = [(dict(point.attributes), point.value) for point in metric.data.data_points]
    stats = processor.stats()
    assert points["hopline.statsd.lines"] == [({}, 2)] == [({}, stats.lines)]
    assert points["hopline.statsd.packets"] == [({}, stats.packets)]
    assert points["hopline.statsd.bytes"] == [({}, stats.bytes)]
    assert points["hopline.statsd.dropped"] == [({"reason": "too_long"}, 1)]
    processor.shutdown()
    provider.shutdown()


def test_drops_are_said_at_debug_at_most_once_a_minute(make_client, caplog):
    client = make_client()

    with caplog.at_level(logging.DEBUG, logger="hopline_statsd"):
        for _ in range(100):
            client.timing("t", -1)

    assert [record.getMessage() for record in caplog.records] == [
        "statsd lines dropped so far, by reason: {'invalid': 1}"
    ]


def test_a_span_that_ends_in_a_signal_handler_does_not_hang(make_processor, listener):
    import signal

    processor = make_processor(max_packet_size=64, max_buffer_size=8 * 1024 * 1024)
    in_handler = 0

    def handle(number, frame):
        nonlocal in_handler
        in_handler += 1
        end_span(processor, CALL)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    outside = 0
    try:
        while in_handler < 100:
            end_span(processor, CALL)
            outside += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert processor.force_flush()
    assert listener.wait_for(in_handler + outside)
    assert processor.stats().lines == in_handler + outside


def test_spans_that_end_in_many_threads_all_make_their_line(make_processor, listener):
    processor = make_processor(max_buffer_size=16 * 1024 * 1024)

    def work(number: int) -> None:
        for _ in range(300):
            end_span(processor, {**CALL, "server.address": f"host{number}"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert processor.force_flush()
    assert listener.wait_for(2400)
    assert [summary.count for summary in listener.summaries()] == [300] * 8


def test_what_the_handler_of_a_signal_raises_goes_through(make_processor):
    class TimeIsUp(Exception):
        pass

    def strike(*_):
        raise TimeIsUp

    class Struck:
        """A span that is looked at just when the signal comes."""

        @property
        def _resource(self):
            signal.raise_signal(signal.SIGUSR1)

    processor = make_processor()
    before = signal.signal(signal.SIGUSR1, strike)
    try:
        with pytest.raises(TimeIsUp):
            processor.on_end(Struck())
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert processor.stats().dropped == {}
