"""Forks after the exporter's own counts were collected, and collects them in the child, too; prints what was added."""

import ctypes
import json
import os
import sys

from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

from hopline_statsd import StatsdSpanProcessor
from tests.hopline_statsd.programs.forking import let_the_background_thread_sleep
from tests.hopline_statsd.spans import CALL, end_span


def show_what_was_added(reader: InMemoryMetricReader) -> None:
    (resource_metrics,) = reader.get_metrics_data().resource_metrics
    (scope_metrics,) = resource_metrics.scope_metrics
    added = {metric.name: [point.value for point in metric.data.data_points] for metric in scope_metrics.metrics}
    os.write(1, json.dumps([added["hopline.statsd.lines"], added["hopline.statsd.dropped"]]).encode() + b"\n")


def end_spans(processor: StatsdSpanProcessor, calls: int, impossible: int) -> None:
    for _ in range(calls):
        end_span(processor, CALL)
    for _ in range(impossible):
        end_span(processor, CALL, milliseconds=1e16)
    processor.force_flush()


def main(how: str) -> None:
    reader = InMemoryMetricReader({ObservableCounter: AggregationTemporality.DELTA})
    processor = StatsdSpanProcessor(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    end_spans(processor, 100, 10)
    show_what_was_added(reader)
    let_the_background_thread_sleep(processor)
    fork = os.fork if how == "fork" else ctypes.PyDLL(None).fork
    child = fork()
    if child == 0:
        show_what_was_added(reader)
        end_spans(processor, 3, 2)
        show_what_was_added(reader)
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
