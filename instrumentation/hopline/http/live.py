"""Up-down counters that are observed when metrics are collected, so that what they count costs nothing meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Thread
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from hopline._weak import alive
from hopline.http.series import Value

# What is alive now, each told by its attributes.
Things = Callable[[], Iterable[Mapping[str, Value]]]

_MAX_SEEN = 2_000


class _Observed:
    """One instrument of one meter, and all that is counted on it."""

    __slots__ = ("_seen", "counted")

    def __init__(self) -> None:
        self.counted: WeakKeyDictionary[LiveCount, None] = WeakKeyDictionary()
        self._seen: set[frozenset[tuple[str, Value]]] = set()

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        if not self.counted:
            return []
        counts = Counter(
            frozenset(thing.items()) for count in alive(self.counted.keyrefs()) for thing in count.things()
        )
        for gone in self._seen.difference(counts):
            counts[gone] = 0
        self._seen = set(list(counts)[:_MAX_SEEN])
        return [Observation(count, dict(attributes)) for attributes, count in counts.items()]


# A meter gives an observable instrument that it has made before out again, without the new callback: who is
# instrumented a second time, or session by session, has to be counted by the first one's. Lives as its meter does.
_observed: WeakKeyDictionary[Meter, dict[str, _Observed]] = WeakKeyDictionary()


class LiveCount:
    """How many of something there are now, by attributes.

    What was reported once is reported as 0 when there is none any more, or a backend would keep its last number.
    It is reported until it is closed, or nobody has it any more.

    Args:
        meter: makes the instrument.
        name: its name.
        unit: its unit, for instance ``{request}``.
        description: its description.
        things: tells what is alive.

    Attributes:
        things: tells what is alive.
    """

    __slots__ = ("__weakref__", "_observed", "things")

    def __init__(self, meter: Meter, name: str, unit: str, description: str, things: Things) -> None:
        instruments = _observed.setdefault(meter, {})
        made = _Observed()
        # In one step: of threads that come at once, the one whose callback the meter takes is the one that is kept.
        self._observed = instruments.setdefault(name, made)
        if self._observed is made:
            _outside_of_collections(
                meter, lambda: meter.create_observable_up_down_counter(name, [made.observe], unit, description)
            )
        self.things = things
        self._observed.counted[self] = None

    def close(self) -> None:
        """Report nothing any more."""
        self._observed.counted.pop(self, None)


def _outside_of_collections(meter: Meter, create: Callable[[], object]) -> None:
    """Create an observable instrument; where the SDK collects metrics, once it has done.

    The SDK holds a lock while it calls the application's callbacks, and takes it to create such an instrument: a
    callback whose request is the first one would wait for itself.
    """
    lock = getattr(getattr(meter, "_measurement_consumer", None), "_lock", None)
    if lock is None or not lock.locked():
        create()
        return

    def create_then() -> None:
        with lock:
            pass  # before the meter's own lock, for the callback may want that one
        create()

    with suppress(RuntimeError):  # the interpreter ends, and with it what could be counted
        Thread(target=create_then, name="hopline-live", daemon=True).start()
