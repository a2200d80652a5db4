"""OTLP/HTTP exporters that are made when they first have something to export.

The SDK's own import an HTTP library and ssl when they are made, which is at start-up: before the application could
import either itself, and too early for ``gevent.monkey.patch_all()``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from os import environ
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
)
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from hopline._locks import lasting_lock

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk._logs.export import LogRecordExportResult

_PACKAGE = "opentelemetry.exporter.otlp.proto.http"

# Which instruments are exported as deltas, by preference; the OTLP exporter specification has this table.
_DELTA: dict[str, tuple[type, ...]] = {
    "delta": (Counter, Histogram, ObservableCounter),
    "lowmemory": (Counter, Histogram),
}


# How long a fork waits for an exporter that is being made, in seconds: what is half imported stays so in the child.
_PATIENCE = 5.0


class _Deferred:
    """One exporter that is made when it is first used."""

    def __init__(self, module: str, name: str) -> None:
        self._module = f"{_PACKAGE}.{module}"
        self._name = name
        self._making = lasting_lock(_PATIENCE)
        self.made: Any = None

    def get(self) -> Any:
        with self._making:
            if self.made is None:
                import_module("netrc")  # which requests imports with its first request: a fork may come in between
                self.made = getattr(import_module(self._module), self._name)()
            return self.made

    def flush(self, timeout_millis: float) -> bool:
        return self.made is None or bool(self.made.force_flush(timeout_millis))

    def shutdown(self) -> None:
        if self.made is not None:
            self.made.shutdown()


class DeferredSpanExporter(SpanExporter):
    """The OTLP/HTTP span exporter, made at its first export; configured by the same environment variables."""

    def __init__(self) -> None:
        self._exporter = _Deferred("trace_exporter", "OTLPSpanExporter")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export ``spans``."""
        result: SpanExportResult = self._exporter.get().export(spans)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is held back, within ``timeout_millis``."""
        return self._exporter.flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the exporter down, if it was made."""
        self._exporter.shutdown()


class DeferredMetricExporter(MetricExporter):
    """The OTLP/HTTP metric exporter, made at its first export; configured by the same environment variables."""

    def __init__(self) -> None:
        super().__init__(_preferred_temporality(), _preferred_aggregation())
        self._exporter = _Deferred("metric_exporter", "OTLPMetricExporter")

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Export ``metrics_data`` within ``timeout_millis``."""
        result: MetricExportResult = self._exporter.get().export(metrics_data, timeout_millis, **kwargs)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Export what is held back, within ``timeout_millis``."""
        return self._exporter.flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the exporter down, if it was made."""
        self._exporter.shutdown()


class DeferredLogExporter(LogRecordExporter):
    """The OTLP/HTTP log exporter, made at its first export; configured by the same environment variables."""

    def __init__(self) -> None:
        self._exporter = _Deferred("_log_exporter", "OTLPLogExporter")

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Export ``batch``."""
        result: LogRecordExportResult = self._exporter.get().export(batch)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is held back, within ``timeout_millis``."""
        return self._exporter.flush(timeout_millis)

    def shutdown(self) -> None:
        """Shut the exporter down, if it was made."""
        self._exporter.shutdown()


def _preferred_temporality() -> dict[type, AggregationTemporality]:
    preference = environ.get(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE, "").strip().lower()
    return dict.fromkeys(_DELTA.get(preference, ()), AggregationTemporality.DELTA)


def _preferred_aggregation() -> dict[type, Aggregation]:
    histogram = environ.get(OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION, "").strip().lower()
    if histogram == "base2_exponential_bucket_histogram":
        return {Histogram: ExponentialBucketHistogramAggregation()}
    return {}
