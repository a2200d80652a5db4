"""What the benchmarks export to: nothing, by way of everything that stands before it."""

from __future__ import annotations

from typing import Any, Protocol

from opentelemetry import context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = dict[str, str | int]
BOUNDARIES = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


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


def attributes(host: str = "example.com") -> tuple[Attributes, Attributes]:
    """A span's and a measurement's, ready-made."""
    known: Attributes = {"http.request.method": "GET", "server.address": host, "server.port": 80}
    known["network.protocol.version"] = "1.1"
    return {**known, "url.full": f"http://{host}/users/17"}, {**known, "http.response.status_code": 200}


SPAN_ATTRIBUTES, METRIC_ATTRIBUTES = attributes()


class ByHand(Protocol):
    def __call__(
        self, span_attributes: Attributes = SPAN_ATTRIBUTES, metric_attributes: Attributes = METRIC_ATTRIBUTES
    ) -> None: ...


def by_hand(providers: dict[str, Any]) -> ByHand:
    """The floor: what the SDK costs for the span and the histogram of one call, with ready-made attributes."""
    tracer = trace.get_tracer("floor", tracer_provider=providers.get("tracer_provider"))
    meter = metrics.get_meter("floor", meter_provider=providers.get("meter_provider"))
    histogram = meter.create_histogram("floor", explicit_bucket_boundaries_advisory=BOUNDARIES)
    propagator = TraceContextTextMapPropagator()

    def one(span_attributes: Attributes = SPAN_ATTRIBUTES, metric_attributes: Attributes = METRIC_ATTRIBUTES) -> None:
        span = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=span_attributes)
        token = context.attach(set_span_in_context(span))
        propagator.inject({})
        span.set_attribute("http.response.status_code", 200)
        span.end()
        context.detach(token)
        histogram.record(0.01, metric_attributes)

    return one
