"""The connections of an HTTP client: how many are open, active or idle, and how long they last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Meter
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PEER_ADDRESS, NETWORK_PEER_PORT

from hopline._guard import guard
from hopline._weak import alive
from hopline.http.live import LiveCount
from hopline.http.recorders import histogram
from hopline.http.series import Series, Value

_STATE = "http.connection.state"
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)

Ask = Callable[[], bool] | None


class OpenConnection:
    """One open connection.

    Args:
        connections: what it is told to.
        origin: the attributes that tell where the request goes that it was opened for.
        peer: the span attributes that tell its other end.
        ask: tells, when metrics are collected, whether a request uses it or it waits in its pool; None where that
            cannot be found out.

    Attributes:
        origin: the attributes that its metrics have.
        peer: the span attributes that tell its other end.
        opened: when it was established, in nanoseconds of the performance counter.
    """

    __slots__ = ("__weakref__", "_ask", "_connections", "opened", "origin", "peer")

    def __init__(self, connections: Connections, origin: Series, peer: Mapping[str, Value], ask: Ask) -> None:
        self._connections = connections
        self._ask = ask
        self.origin = origin
        self.peer = peer
        self.opened = perf_counter_ns()

    def state(self) -> str:
        """The value of ``http.connection.state``."""
        return "active" if self._ask is None or guard(self._ask) else "idle"

    def closed(self) -> None:
        """It was closed."""
        self._connections.closed(self)


class Connections:
    """What is told about the connections of one HTTP client, which somebody else keeps as long as they are open.

    Args:
        meter: makes the instruments ``http.client.open_connections`` and ``http.client.connection.duration``.
    """

    __slots__ = ("_count", "_duration", "_open")

    def __init__(self, meter: Meter) -> None:
        self._open: WeakKeyDictionary[OpenConnection, None] = WeakKeyDictionary()
        self._duration = histogram(
            meter,
            "http.client.connection.duration",
            "s",
            "The duration of the successfully established outbound HTTP connections.",
            _SECONDS,
        )
        self._count = LiveCount(
            meter,
            "http.client.open_connections",
            "{connection}",
            "Number of outbound HTTP connections that are currently active or idle on the client.",
            self._states,
        )

    def opened(self, origin: Series, peer: object, ask: Ask) -> OpenConnection:
        """A connection was established, and a request is about to use it.

        Args:
            origin: the attributes that tell where the request goes.
            peer: the socket's address of the other end; of a family without ports and addresses nothing is told.
            ask: as of :class:`OpenConnection`.

        Returns:
            What is known of it, to be kept as long as it is open.
        """
        opened = OpenConnection(self, origin, peer_attributes(peer), ask)
        self._open[opened] = None
        return opened

    def closed(self, connection: OpenConnection) -> None:
        """A connection was closed."""
        self._open.pop(connection, None)
        self._duration.record((perf_counter_ns() - connection.opened) / 1e9, connection.origin)

    def close(self) -> None:
        """Report nothing any more."""
        self._count.close()

    def _states(self) -> list[dict[str, Value]]:
        return [{**known.origin, _STATE: known.state()} for known in alive(self._open.keyrefs())]


def peer_attributes(peer: object) -> dict[str, Value]:
    """The attributes that tell a socket's other end, whose address is ``peer``."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return {}
    return {NETWORK_PEER_ADDRESS: str(peer[0]), NETWORK_PEER_PORT: int(peer[1])}
