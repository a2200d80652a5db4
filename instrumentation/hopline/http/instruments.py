"""The OpenTelemetry metric instruments of HTTP clients, as the semantic conventions name them."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION

from hopline.http.attributes import Outcome
from hopline.http.body import Bodies
from hopline.http.config import HttpConfig
from hopline.http.connections import Connections
from hopline.http.live import LiveCount, Things
from hopline.http.phases import Phases


class ClientInstruments:
    """What an HTTP client measures.

    Args:
        meter: makes the instruments.
        config: says the buckets, whether body sizes are measured, and whether the metric from before the
            conventions became stable is wanted too.
        active: the requests that are on the wire now.

    Attributes:
        connections: the client's connections.
        bodies: the bodies that it streams.
        phases: the phases of its attempts.
    """

    __slots__ = (
        "_active",
        "_duration",
        "_old_duration",
        "_request_size",
        "_response_size",
        "bodies",
        "connections",
        "phases",
    )

    def __init__(self, meter: Meter, config: HttpConfig, active: Things) -> None:
        self._duration = meter.create_histogram(
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
        self._request_size = _size(meter, "request") if config.body_sizes else None
        self._response_size = _size(meter, "response") if config.body_sizes else None
        self._active = LiveCount(
            meter, "http.client.active_requests", "{request}", "Number of active HTTP requests.", active
        )
        self.connections = Connections(meter)
        self.bodies = Bodies(meter)
        self.phases = Phases(meter)

    def record(self, nanoseconds: int, outcome: Outcome, context: Context) -> None:
        """Record one attempt.

        Args:
            nanoseconds: its duration, which is its span's.
            outcome: how it ended.
            context: the context that its span is current in, for exemplars.
        """
        self._duration.record(nanoseconds / 1e9, outcome.metric_attributes, context)
        if self._old_duration is not None:
            self._old_duration.record(nanoseconds / 1e6, outcome.old_metric_attributes, context)

    def record_sizes(self, sent: int | None, received: int | None, outcome: Outcome) -> None:
        """Record the sizes, in bytes, of an attempt's bodies as they were on the wire; None: not known."""
        if self._request_size is not None and sent is not None:
            self._request_size.record(sent, outcome.metric_attributes)
        if self._response_size is not None and received is not None:
            self._response_size.record(received, outcome.metric_attributes)

    def close(self) -> None:
        """Report nothing any more when metrics are collected."""
        self._active.close()
        self.connections.close()


def _size(meter: Meter, which: str) -> Histogram:
    return meter.create_histogram(
        f"http.client.{which}.body.size", unit="By", description=f"Size of HTTP client {which} bodies."
    )
