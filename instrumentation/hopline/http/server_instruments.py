"""The OpenTelemetry metric instruments of an HTTP server, as the semantic conventions name them."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.semconv.metrics.http_metrics import HTTP_SERVER_REQUEST_DURATION

from hopline.http.attributes import Outcome
from hopline.http.config import HttpConfig
from hopline.http.live import LiveCount, Things
from hopline.http.recorders import histogram
from hopline.http.series import Recorder

_DURATION = "Duration of HTTP server requests."
_ACTIVE = "Number of active HTTP server requests."


class ServerInstruments:
    """What an HTTP server measures.

    Args:
        meter: makes the instruments.
        config: says the buckets, and whether the metric from before the conventions became stable is wanted too.
        active: the requests that are being served now.
    """

    __slots__ = ("_active", "_duration", "_old_duration")

    def __init__(self, meter: Meter, config: HttpConfig, active: Things) -> None:
        self._duration = histogram(meter, HTTP_SERVER_REQUEST_DURATION, "s", _DURATION, config.boundaries)
        self._old_duration: Recorder | None = None
        if config.words.old_names:
            self._old_duration = histogram(meter, "http.server.duration", "ms", _DURATION)
        self._active = LiveCount(meter, "http.server.active_requests", "{request}", _ACTIVE, active)

    def record(self, nanoseconds: int, outcome: Outcome, context: Context) -> None:
        """Record one request.

        Args:
            nanoseconds: its duration, which is its span's.
            outcome: how it ended.
            context: the context that its span is current in, for exemplars.
        """
        self._duration.record(nanoseconds / 1e9, outcome.series, context)
        if self._old_duration is not None:
            self._old_duration.record(nanoseconds / 1e6, outcome.old_series, context)

    def close(self) -> None:
        """Report nothing any more when metrics are collected."""
        self._active.close()
