"""Up-down counters that are observed when metrics are collected, so that what they count costs nothing meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from hopline.http.attributes import Value

# What is alive now, each told by its attributes.
Things = Callable[[], Iterable[Mapping[str, Value]]]

_MAX_SEEN = 2_000


class LiveCount:
    """How many of something there are now, by attributes.

    What was reported once is reported as 0 when there is none any more, or a backend would keep its last number.

    Args:
        meter: makes the instrument.
        name: its name.
        unit: its unit, for instance ``{request}``.
        description: its description.
        things: tells what is alive.
    """

    __slots__ = ("_seen", "_things")

    def __init__(self, meter: Meter, name: str, unit: str, description: str, things: Things) -> None:
        self._things: Things | None = things
        self._seen: set[frozenset[tuple[str, Value]]] = set()
        meter.create_observable_up_down_counter(name, [self._observe], unit, description)

    def close(self) -> None:
        """Report nothing any more."""
        self._things = None

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        if self._things is None:
            return []
        counts = Counter(frozenset(attributes.items()) for attributes in self._things())
        for gone in self._seen.difference(counts):
            counts[gone] = 0
        self._seen = set(list(counts)[:_MAX_SEEN])
        return [Observation(count, dict(attributes)) for attributes, count in counts.items()]
