"""The OpenTelemetry metric instruments of HTTP, as the semantic conventions name them."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION

from hopline.http.attributes import Outcome
from hopline.http.config import HttpConfig


class ClientInstruments:
    """What an HTTP client measures.

    Args:
        meter: makes the instruments.
        config: says the buckets, and whether the metric from before the conventions became stable is wanted too.
    """

    __slots__ = ("_duration", "_old_duration")

    def __init__(self, meter: Meter, config: HttpConfig) -> None:
        self._duration: Histogram = meter.create_histogram(
            HTTP_CLIENT_REQUEST_DURATION,
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=config.boundaries,
        )
        self._old_duration: Histogram | None = None
        if config.words.old_names:
            self._old_duration = meter.create_histogram(
                "http.client.duration", unit="ms", description="Duration of HTTP client requests."
            )

    def record(self, nanoseconds: int, outcome: Outcome, context: Context) -> None:
        """Record one attempt.

        Args:
            nanoseconds: the attempt's duration, which is its span's.
            outcome: how it ended.
            context: the context that its span is current in, for exemplars.
        """
        self._duration.record(nanoseconds / 1e9, outcome.metric_attributes, context)
        if self._old_duration is not None:
            self._old_duration.record(nanoseconds / 1e6, outcome.old_metric_attributes, context)
