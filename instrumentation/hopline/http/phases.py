"""What the phases of attempts come to: connections made, requests that had to queue, and name look-ups, as metrics."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.metrics import Meter

from hopline.http.attributes import CONNECTION_REUSED, DNS_CACHE_HIT, PHASE_DNS, PHASE_QUEUE
from hopline.http.recorders import counter, histogram
from hopline.http.series import Recorder, Series, Value

_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Phases:
    """What is told about the phases of one client's attempts.

    It comes from the same details as the attributes of the attempt's span, so that the two always agree.

    Args:
        meter: makes the instruments.
    """

    __slots__ = ("_created", "_lookup_time", "_lookups", "_queue_time", "_queued")

    def __init__(self, meter: Meter) -> None:
        self._created = counter(
            meter, "hopline.http.client.connections.created", "{connection}", "Connections established."
        )
        self._queued = counter(
            meter,
            "hopline.http.client.queued",
            "{request}",
            "Requests that had to wait because all connections of the pool were in use.",
        )
        self._lookups = counter(
            meter,
            "hopline.http.client.dns.lookups",
            "{lookup}",
            "Host names looked up, by whether the answer was in the client's own cache.",
        )
        self._queue_time = _duration(meter, "queue", "Time that requests waited for a connection of the pool.")
        self._lookup_time = _duration(meter, "dns", "Time that the resolver took.")

    def record(self, details: Mapping[str, Value], origin: Series, context: Context) -> None:
        """Record the phases of one attempt.

        Args:
            details: what is known of the attempt, by the names in :mod:`hopline.http.attributes`.
            origin: the attributes that tell where it went.
            context: the context that its span is current in, for exemplars.
        """
        queue = details.get(PHASE_QUEUE)
        if isinstance(queue, float):
            self._queued.record(1, origin, context)
            self._queue_time.record(queue, origin, context)
        reused = details.get(CONNECTION_REUSED)
        if reused is True:
            return  # and so no name was looked up
        if reused is False:
            self._created.record(1, origin, context)
        if DNS_CACHE_HIT in details:
            self._lookups.record(1, origin.extended(DNS_CACHE_HIT, details[DNS_CACHE_HIT]), context)
        lookup = details.get(PHASE_DNS)
        if isinstance(lookup, float):
            self._lookup_time.record(lookup, origin, context)


def _duration(meter: Meter, what: str, description: str) -> Recorder:
    return histogram(meter, f"hopline.http.client.{what}.duration", "s", description, _SHORT)
