"""An OpenTelemetry SDK of a test's own: providers, what was exported, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from hopline.http import sdk_releases

known_release = pytest.mark.skipif(
    not sdk_releases._is_sdk_read(),
    reason="the SDK is of a later release than those that have been read",
)


def points_of(reader: InMemoryMetricReader, name: str) -> list[Any]:
    """The data points of one metric that a reader collects."""
    return [point for metric in _metrics(reader) if metric.name == name for point in metric.data.data_points]


def _metrics(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    return [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


class Telemetry:
    """Providers that keep everything in memory."""

    def __init__(self, **provider: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False, **provider)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, Any]:
        """The keyword arguments of `instrument()`."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def tracer(self) -> Tracer:
        return self.tracer_provider.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        """The one span that has ended."""
        (span,) = self.spans
        return span

    @property
    def metric_names(self) -> set[str]:
        """The names of the metrics that have a data point."""
        return {metric.name for metric in _metrics(self._reader) if metric.data.data_points}

    def points(self, name: str) -> list[Any]:
        """The data points of one metric."""
        return points_of(self._reader, name)

    def point(self, name: str) -> Any:
        """The one data point of a metric."""
        (point,) = self.points(name)
        return point

    def clear(self) -> None:
        """Forget the spans that have ended."""
        self._exporter.clear()

    def shutdown(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@contextmanager
def instrumenting(instrumentor: BaseInstrumentor, telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Gives what instruments a library, with telemetry of a test's own, until the block ends."""

    def instrument(**arguments: Any) -> None:
        instrumentor.instrument(**{**telemetry.providers, **arguments})

    yield instrument
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
