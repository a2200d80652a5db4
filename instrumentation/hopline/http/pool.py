"""The connections in a library's pool: who opened each, when it is used and when it is closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

from hopline.http.call import ClientCall
from hopline.http.connections import OpenConnection


class PooledConnections:
    """The open connections of one library, each told of by the client whose request opened it.

    Sessions that are told of differently may share a pool, and the library's own pool knows nothing of clients. A
    connection is known by the library's own object for it, which must be weakly referable: one that the library drops
    without closing it is gone for us too.

    Args:
        peer_of: tells the address of the other end of one of the library's connections.
        pool_of: tells, where it can, the pool of what :meth:`take` is given.
        is_used: tells whether a request uses a connection of a pool; called when metrics are collected.
    """

    __slots__ = ("_is_used", "_open", "_peer_of", "_pool_of")

    def __init__(
        self,
        peer_of: Callable[[Any], object],
        pool_of: Callable[[Any], object],
        is_used: Callable[[Any, Any], bool],
    ) -> None:
        self._peer_of = peer_of
        self._pool_of = pool_of
        self._is_used = is_used
        self._open: WeakKeyDictionary[object, OpenConnection] = WeakKeyDictionary()

    def take(self, call: ClientCall, connection: object, taken: object) -> None:
        """The call's attempt is about to use the connection, a new one or one that was in the pool.

        Args:
            call: the call.
            connection: the library's own object for it.
            taken: what ``pool_of`` finds its pool by, where the connection is not known yet.
        """
        opened = self._open.get(connection)
        if opened is None:
            pool = self._pool_of(taken)
            ask = None if pool is None else partial(_ask, self._is_used, ref(pool), ref(connection))
            connections = call.telemetry.instruments.connections
            opened = self._open[connection] = connections.opened(call.operation.origin, self._peer_of(connection), ask)
        call.details.update(opened.peer)

    def forget(self, connection: object) -> None:
        """The connection is closed; to say so again does nothing."""
        opened = self._open.pop(connection, None)
        if opened is not None:
            opened.closed()


def _ask(is_used: Callable[[Any, Any], bool], pool: Callable[[], Any], connection: Callable[[], Any]) -> bool:
    # Where the pool is gone, nobody is left to use its connection.
    owner, owned = pool(), connection()
    return owner is not None and owned is not None and is_used(owner, owned)
