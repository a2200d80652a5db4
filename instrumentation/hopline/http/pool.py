"""The connections in a library's pool: who opened each, when it is used, waits and is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from hopline.http.call import ClientCall
from hopline.http.connections import Connections


class PooledConnections:
    """The open connections of one library, each told of by the client whose request opened it.

    Sessions that are told of differently may share a pool, and the library's own pool knows nothing of clients.

    Args:
        peer_of: tells the address of the other end of one of the library's connections.
    """

    __slots__ = ("_opened_by", "_peer_of")

    def __init__(self, peer_of: Callable[[Any], object]) -> None:
        self._peer_of = peer_of
        self._opened_by: WeakKeyDictionary[object, Connections] = WeakKeyDictionary()

    def take(self, call: ClientCall, connection: object) -> None:
        """The call's attempt is about to use the connection, a new one or one that was in the pool."""
        connections = self._opened_by.get(connection)
        if connections is None:
            connections = self._opened_by[connection] = call.telemetry.instruments.connections
            connections.opened(connection, call.destination, self._peer_of(connection))
        else:
            connections.active(connection)
        call.details.update(connections.peer(connection))

    def give_back(self, connection: object) -> None:
        """The connection waits in its pool."""
        connections = self._opened_by.get(connection)
        if connections is not None:
            connections.idle(connection)

    def forget(self, connection: object) -> None:
        """The connection is closed; to say so again does nothing."""
        connections = self._opened_by.pop(connection, None)
        if connections is not None:
            connections.closed(connection)
