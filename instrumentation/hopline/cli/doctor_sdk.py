"""What the SDK makes of its own settings: some of them it takes for a reason not to be set up at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hopline.deferred_otlp import DeferredLogExporter, DeferredSpanExporter


def refused_settings(chosen: Mapping[str, list[str]]) -> Iterator[str]:
    """Make what the SDK would make, for nothing to go through it.

    Args:
        chosen: the names of the exporters for each signal.
    """
    yield from _refused("the limits of spans", SpanLimits)
    if set(chosen["traces"]) - {"statsd"}:  # which takes each span as it ends
        yield from _refused("OTEL_BSP_*", lambda: _end(BatchSpanProcessor(DeferredSpanExporter())))
    if chosen["logs"]:
        yield from _refused("OTEL_BLRP_*", lambda: _end(BatchLogRecordProcessor(DeferredLogExporter())))


def _refused(settings: str, make: Callable[[], object]) -> Iterator[str]:
    try:
        make()
    except ValueError as error:
        yield f"{settings}: nothing is instrumented and nothing exported ({error})"


def _end(processor: BatchSpanProcessor | BatchLogRecordProcessor) -> None:
    processor.shutdown()  # type: ignore[no-untyped-call]
