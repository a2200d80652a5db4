"""What the benchmarks export to: nothing, by way of everything that stands before it."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF


class Discarding(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def tracer_provider(*processors: SpanProcessor, sampled: bool = True, queue: int = 1 << 18) -> TracerProvider:
    provider = TracerProvider(sampler=None if sampled else ALWAYS_OFF)
    for processor in (*processors, BatchSpanProcessor(Discarding(), max_queue_size=queue)):
        provider.add_span_processor(processor)
    return provider


def meter_provider(*, read: bool = True) -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()] if read else [])


def providers(*, sampled: bool = True) -> dict[str, Any]:
    """Arguments for `instrument()`: sampled with metrics, or neither."""
    return {"tracer_provider": tracer_provider(sampled=sampled), "meter_provider": meter_provider(read=sampled)}
