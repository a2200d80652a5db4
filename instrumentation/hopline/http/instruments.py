"""The OpenTelemetry metric instruments of HTTP clients, as the semantic conventions name them."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider, get_meter
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION

from hopline._version import __version__
from hopline.http.attributes import SCHEMA_URL, Outcome
from hopline.http.bodies import SIZE_BOUNDARIES, Bodies
from hopline.http.config import HttpConfig
from hopline.http.connections import Connections
from hopline.http.live import LiveCount, Things
from hopline.http.phases import Phases
from hopline.http.recorders import histogram
from hopline.http.series import Recorder, Series, Value

_DURATION = "Duration of HTTP client requests."

Sizes = tuple[int | None, int | None]
"""The bytes of a request's body and of its response's, each None while it is not known."""


class ClientInstruments:
    """What an HTTP client measures.

    Args:
        scope: the name of the instrumentation scope.
        config: says the buckets, whether body sizes are measured, and whether the metric from before the
            conventions became stable is wanted too.
        active: the requests that are on the wire now.
        meter_provider: makes the instruments (default: the global one).

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

    def __init__(
        self, scope: str, config: HttpConfig, active: Things, meter_provider: MeterProvider | None = None
    ) -> None:
        meter = get_meter(scope, __version__, meter_provider, schema_url=SCHEMA_URL)
        self._duration = histogram(meter, HTTP_CLIENT_REQUEST_DURATION, "s", _DURATION, config.boundaries)
        self._old_duration: Recorder | None = None
        if config.words.old_names:
            self._old_duration = histogram(meter, "http.client.duration", "ms", _DURATION)
        self._request_size = _size(meter, "request") if config.body_sizes else None
        self._response_size = _size(meter, "response") if config.body_sizes else None
        self._active = LiveCount(
            meter, "http.client.active_requests", "{request}", "Number of active HTTP requests.", active
        )
        self.connections = Connections(meter)
        self.bodies = Bodies(meter)
        self.phases = Phases(meter)

    def are_read(self) -> bool:
        """Whether there may be a reader for what is recorded."""
        return self._duration.is_read()

    def record(
        self,
        nanoseconds: int,
        outcome: Outcome,
        sizes: Sizes,
        details: Mapping[str, Value],
        origin: Series,
        context: Context,
    ) -> None:
        """Record one attempt.

        Args:
            nanoseconds: its duration, which is its span's.
            outcome: how it ended.
            sizes: the bytes of its request's and its response's body.
            details: what else is known of it, such as its phases.
            origin: the attributes that tell where it went.
            context: the context that its span is current in, for exemplars.
        """
        if not self.are_read():
            return
        self._duration.record(nanoseconds / 1e9, outcome.series, context)
        if self._old_duration is not None:
            self._old_duration.record(nanoseconds / 1e6, outcome.old_series, context)
        if self._request_size is not None:
            self.record_sizes(*sizes, outcome, context)
        if details:
            self.phases.record(details, origin, context)

    def record_sizes(
        self, sent: int | None, received: int | None, outcome: Outcome, context: Context | None = None
    ) -> None:
        """Record the sizes, in bytes, of an attempt's bodies as they were on the wire; None: not known."""
        if self._request_size is not None and sent is not None:
            self._request_size.record(sent, outcome.series, context)
        if self._response_size is not None and received is not None:
            self._response_size.record(received, outcome.series, context)

    def close(self) -> None:
        """Report nothing any more when metrics are collected."""
        self._active.close()
        self.connections.close()


def _size(meter: Meter, which: str) -> Recorder:
    return histogram(
        meter, f"http.client.{which}.body.size", "By", f"Size of HTTP client {which} bodies.", SIZE_BOUNDARIES
    )
