"""What the SDK makes of its own settings: some of them it takes for a reason not to be set up at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO

from opentelemetry.sdk import _configuration
from opentelemetry.sdk._logs import LogRecordLimits
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hopline.cli.doctor_words import NOTHING
from hopline.deferred_otlp import DeferredLogExporter, DeferredMetricExporter, DeferredSpanExporter
from hopline.distro import DEFERRED_OTLP

_OTLP: Mapping[str, type[DeferredSpanExporter | DeferredMetricExporter | DeferredLogExporter]] = {
    "traces": DeferredSpanExporter,
    "metrics": DeferredMetricExporter,
    "logs": DeferredLogExporter,
}


def refused_settings(chosen: Mapping[str, list[str]]) -> Iterator[str]:
    """Make what the SDK would make, for nothing to go through it; what it warns of meanwhile is collected elsewhere.

    Args:
        chosen: the names of the exporters for each signal.
    """
    yield from _refused("OTEL_RESOURCE_ATTRIBUTES", Resource.create)
    yield from _refused("OTEL_TRACES_SAMPLER", _make_sampler)
    yield from _refused("OTEL_PYTHON_ID_GENERATOR", _make_id_generator)
    yield from _refused("the limits of spans", SpanLimits)
    if set(chosen["traces"]) - {"statsd"}:  # which takes each span as it ends
        yield from _refused("OTEL_BSP_*", lambda: _end(BatchSpanProcessor(DeferredSpanExporter())))
    yield from _refused("the settings of metrics", lambda: _make_meter_provider(chosen["metrics"]))
    if chosen["logs"]:
        yield from _refused("the limits of log records", LogRecordLimits)
        yield from _refused("OTEL_BLRP_*", lambda: _end(BatchLogRecordProcessor(DeferredLogExporter())))
    for signal, exporter in _OTLP.items():
        if DEFERRED_OTLP in chosen[signal]:
            # Which an application makes when it has something to export.
            yield from _refused("OTEL_EXPORTER_OTLP_*", exporter()._exporter.get, f"no {signal} are exported")


def _refused(settings: str, make: Callable[[], object], outcome: str = NOTHING) -> Iterator[str]:
    try:
        make()
    except (RuntimeError, StopIteration, ValueError) as error:
        reason = " ".join(str(error).split())
        yield f"{settings}: {outcome} ({reason})"


def _make_sampler() -> None:
    _configuration._import_sampler(_configuration._get_sampler())


def _make_id_generator() -> None:
    _configuration._import_id_generator(_configuration._get_id_generator())


def _make_meter_provider(exporters: Sequence[str]) -> None:
    readers = [PeriodicExportingMetricReader(ConsoleMetricExporter(StringIO())) for _ in exporters[:1]]
    MeterProvider(readers, shutdown_on_exit=False).shutdown()


def _end(processor: BatchSpanProcessor | BatchLogRecordProcessor) -> None:
    processor.shutdown()  # type: ignore[no-untyped-call]
