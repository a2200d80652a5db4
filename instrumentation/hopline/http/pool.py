"""The connections in a library's pool: who opened each, when it is used and when it is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from hopline.http.call import ClientCall
from hopline.http.connections import OpenConnection


class PooledConnections:
    """The open connections of one library, each told of by the client whose request opened it.

    Sessions that are told of differently may share a pool, and the library's own pool knows nothing of clients. A
    connection is known by the library's own object for it, which must be weakly referable: one that the library drops
    without closing it is gone for us too.

    Args:
        peer_of: tells the address of the other end of one of the library's connections.
    """

    __slots__ = ("_open", "_peer_of")

    def __init__(self, peer_of: Callable[[Any], object]) -> None:
        self._peer_of = peer_of
        self._open: WeakKeyDictionary[object, OpenConnection] = WeakKeyDictionary()

    def take(self, call: ClientCall, connection: object) -> OpenConnection:
        """The call's attempt is about to use the connection, a new one or one that was in the pool."""
        opened = self._open.get(connection)
        if opened is None:
            connections = call.telemetry.instruments.connections
            opened = self._open[connection] = connections.opened(call.destination, self._peer_of(connection))
        call.details.update(opened.peer)
        return opened

    def forget(self, connection: object) -> None:
        """The connection is closed; to say so again does nothing."""
        opened = self._open.pop(connection, None)
        if opened is not None:
            opened.closed()
