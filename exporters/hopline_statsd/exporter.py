"""The traces exporter `statsd`: for a `BatchSpanProcessor`, where no `StatsdSpanProcessor` can be had."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from hopline_statsd.config import StatsdConfig
from hopline_statsd.processor import StatsdSpanProcessor
from hopline_statsd.stats import StatsdStats

_FLUSH_TIMEOUT_MILLIS = 1000


class StatsdSpanExporter(SpanExporter):
    """Makes the statsd lines of exported spans.

    Behind a `BatchSpanProcessor` it sees sampled spans only, and none that the processor's queue had no
    room for; a `StatsdSpanProcessor` sees all.

    Args:
        config: The settings; those of the environment by default.
        meter_provider: Where the exporter's own counts go; the global one by default.
    """

    def __init__(self, config: StatsdConfig | None = None, meter_provider: MeterProvider | None = None) -> None:
        self._processor = StatsdSpanProcessor(config, meter_provider)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the lines of ended spans.

        Args:
            spans: The spans.

        Returns:
            `FAILURE` where the server does not take the lines now; they wait for it, do not export them
            again.
        """
        for span in spans:
            self._processor.on_end(span)
        done = self._processor.force_flush(_FLUSH_TIMEOUT_MILLIS)
        return SpanExportResult.SUCCESS if done else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send the lines that are there.

        Args:
            timeout_millis: How long to wait at most, in milliseconds.

        Returns:
            Whether all of them were handed to the system.
        """
        return self._processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send the lines that are there and close the socket; once is enough."""
        self._processor.shutdown()

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        return self._processor.stats()
