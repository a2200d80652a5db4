"""The phases of an attempt, as urllib3 goes through them, and the connections that it opens, keeps and closes.

Everything here reads urllib3's inner workings: what a version of it does not have is not told.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from time import perf_counter_ns
from typing import Any
from weakref import WeakKeyDictionary, ref

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline.http.attributes import CONNECTION_REUSED, PHASE_CONNECT, PHASE_DNS, PHASE_QUEUE, PHASE_TLS
from hopline.http.call import ClientCall
from hopline.http.connections import peer_attributes
from hopline.http.pool import PooledConnections
from hopline.requests._progress import Progress, ongoing

Wrapped = Callable[..., Any]


class Phases:
    """The patches that see the phases, and the connections in urllib3's pools."""

    def __init__(self) -> None:
        self._connections = PooledConnections(_peer, self._pool_of, _is_used)
        self._pools: WeakKeyDictionary[Any, ref[Any]] = WeakKeyDictionary()
        self.patches = Patches(
            Patch("urllib3.connectionpool", "HTTPConnectionPool._get_conn", self._get_conn),
            Patch("urllib3.connectionpool", "HTTPConnectionPool._new_conn", self._new_conn),
            Patch("urllib3.connectionpool", "HTTPSConnectionPool._new_conn", self._new_conn),
            Patch("urllib3.connection", "HTTPConnection.connect", self._connect),
            Patch("urllib3.connection", "HTTPSConnection.connect", self._connect),
            Patch("urllib3.connection", "HTTPConnection.close", self._close),
            Patch("urllib3.connection", "HTTPConnection._new_conn", _new_conn),
            Patch("urllib3.connection", "ssl_wrap_socket", _ssl_wrap_socket),
            # The functions that urllib3 calls just before and just after it resolves a name.
            Patch("urllib3.util.connection", "allowed_gai_family", _before_resolving),
            Patch("urllib3.util.connection", "_set_socket_options", _after_resolving),
        )

    def _get_conn(self, wrapped: Wrapped, pool: Any, args: Any, kwargs: Any) -> Any:
        call = ongoing.get()
        if call is None or call.progress.pool is not pool:
            return wrapped(*args, **kwargs)
        began = perf_counter_ns() if guard(_must_wait, pool) else None
        try:
            connection = wrapped(*args, **kwargs)
        finally:
            if began is not None:
                call.details[PHASE_QUEUE] = _seconds_since(began)
        if connection.sock is not None:  # or it is still to be connected
            call.details[CONNECTION_REUSED] = True
            guard(self._connections.take, call, connection, connection)
        return connection

    def _new_conn(self, wrapped: Wrapped, pool: Any, args: Any, kwargs: Any) -> Any:
        connection = wrapped(*args, **kwargs)
        guard(self._note, connection, pool)
        return connection

    def _note(self, connection: Any, pool: Any) -> None:
        self._pools[connection] = ref(pool)

    def _connect(self, wrapped: Wrapped, connection: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        call = ongoing.get()
        if call is not None:
            call.details[CONNECTION_REUSED] = False
            guard(self._connections.take, call, connection, connection)
        return result

    def _pool_of(self, connection: Any) -> object:
        pool, call = self._pools.get(connection), ongoing.get()
        if pool is not None:
            return pool()
        # One that was made before there was any instrumentation comes from where its request was sent.
        return None if call is None else call.progress.pool

    def _close(self, wrapped: Wrapped, connection: Any, args: Any, kwargs: Any) -> Any:
        guard(self._connections.forget, connection)
        return wrapped(*args, **kwargs)


def _new_conn(wrapped: Wrapped, connection: Any, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is None:
        return wrapped(*args, **kwargs)
    progress: Progress = call.progress
    began = perf_counter_ns()
    progress.resolving = progress.connecting = None
    try:
        connected = wrapped(*args, **kwargs)
    finally:
        guard(_dialled, call, progress, began)
    # Here and not only when the connection is ready for a request: a handshake, or a proxy's refusal, may yet fail.
    guard(_reached, call, connected)
    return connected


def _reached(call: ClientCall, connected: Any) -> None:
    call.details.update(peer_attributes(connected.getpeername()))


def _dialled(call: ClientCall, progress: Progress, began: int) -> None:
    if progress.resolving is not None and progress.connecting is None:
        call.details[PHASE_DNS] = _seconds_since(progress.resolving)  # and it failed
    else:
        call.details[PHASE_CONNECT] = _seconds_since(progress.connecting or began)


def _before_resolving(wrapped: Wrapped, _: object, args: Any, kwargs: Any) -> Any:
    result = wrapped(*args, **kwargs)
    call = ongoing.get()
    if call is not None:
        call.progress.resolving = perf_counter_ns()
    return result


def _after_resolving(wrapped: Wrapped, _: object, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is not None and call.progress.connecting is None:
        progress: Progress = call.progress
        progress.connecting = perf_counter_ns()
        if progress.resolving is not None and not _is_address(call.destination.host):
            call.details[PHASE_DNS] = (progress.connecting - progress.resolving) / 1e9
    return wrapped(*args, **kwargs)


def _ssl_wrap_socket(wrapped: Wrapped, _: object, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is None:
        return wrapped(*args, **kwargs)
    began = perf_counter_ns()
    try:
        return wrapped(*args, **kwargs)
    finally:
        # Through a proxy that speaks TLS there are two handshakes.
        call.details[PHASE_TLS] = float(call.details.get(PHASE_TLS, 0)) + _seconds_since(began)


def _is_used(pool: Any, connection: object) -> bool:
    return connection not in list(getattr(pool.pool, "queue", ()))  # those that wait


def _peer(connection: Any) -> object:
    # vcrpy plays back what it has recorded with a socket that has no other end.
    ask = getattr(connection.sock, "getpeername", None)
    return None if ask is None else ask()


def _must_wait(pool: Any) -> bool:
    return bool(pool.block and pool.pool is not None and pool.pool.empty())


def _seconds_since(began: int) -> float:
    return (perf_counter_ns() - began) / 1e9


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
