"""What aiohttp has no signal for: that an attempt begins, that its header has come, what becomes of a connection.

Everything here reads aiohttp's inner workings: what a version of it does not have is not told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakSet

from hopline._guard import guard
from hopline._locks import lasting_lock
from hopline._patch import Patch, Patches
from hopline.aiohttp_client._exchange import Exchange, exchange_of
from hopline.aiohttp_client._middlewares import steps
from hopline.aiohttp_client._trace_config import HoplineTraceConfig
from hopline.http.call import ClientCall
from hopline.http.pool import PooledConnections

Wrapped = Callable[..., Any]


class Wire:
    """The patches inside aiohttp, in place while somebody needs them."""

    def __init__(self) -> None:
        self._pool = PooledConnections(_peer_of, _connector_of, _is_used)
        self._users: WeakSet[HoplineTraceConfig] = WeakSet()
        self._changing = lasting_lock()
        self._patches = Patches(
            Patch("aiohttp.client", "build_client_middlewares", _build),
            Patch("aiohttp.connector", "BaseConnector.connect", _connect),
            Patch("aiohttp.client_reqrep", "ClientResponse.start", self._start),
            Patch("aiohttp.client_proto", "ResponseHandler.connection_lost", self._connection_lost),
        )

    def use(self, config: HoplineTraceConfig) -> None:
        """Tell the requests that ``config`` tells of."""
        with self._changing:
            self._users.add(config)
            self._patches.apply()

    def leave(self, config: HoplineTraceConfig) -> None:
        """Tell them nothing any more."""
        with self._changing:
            self._users.discard(config)
            if not self._users:
                self._patches.remove()

    def _start(self, wrapped: Wrapped, response: Any, args: Any, kwargs: Any) -> Any:
        exchange = guard(exchange_of, response._traces)
        if exchange is None or exchange.call is None:
            return wrapped(*args, **kwargs)
        guard(self._take, exchange.call, args[0] if args else kwargs.get("connection"))
        return _watched(exchange, wrapped(*args, **kwargs), response)

    def _take(self, call: ClientCall, connection: Any) -> None:
        # None where sending the body has closed it: what aiohttp makes of that, the application gets.
        if connection.protocol is not None:
            self._pool.take(call, connection.protocol, connection)

    def _connection_lost(self, wrapped: Wrapped, protocol: object, args: Any, kwargs: Any) -> Any:
        guard(self._pool.forget, protocol)
        return wrapped(*args, **kwargs)


def _build(wrapped: Wrapped, _: object, args: Any, kwargs: Any) -> Any:
    ours = guard(steps, *args, **kwargs)
    return wrapped(*args, **kwargs) if ours is None else wrapped(*ours)


def _connect(wrapped: Wrapped, connector: object, args: Any, kwargs: Any) -> Any:
    proxied = guard(_ask, args, kwargs)
    connected = wrapped(*args, **kwargs)
    return connected if proxied is None else _watched(proxied, connected)


def _ask(args: Any, kwargs: Any) -> Exchange | None:
    request = args[0] if args else kwargs["req"]
    exchange = exchange_of(args[1] if len(args) > 1 else kwargs.get("traces", ()))
    if exchange is None:
        return None
    exchange.ask(request)
    # Where a proxy hangs up aiohttp tries again. Any other error of connecting is the application's, or a middleware's.
    return None if request.proxy is None else exchange


async def _watched(exchange: Exchange, awaited: Awaitable[Any], response: Any = None) -> Any:
    try:
        result = await awaited
    except BaseException as error:
        guard(exchange.break_off, error)
        raise
    if response is not None:
        guard(exchange.answer, response)
    return result


def _connector_of(connection: Any) -> object:
    return connection._connector


def _is_used(connector: Any, protocol: object) -> bool:
    return protocol in connector._acquired


def _peer_of(protocol: Any) -> object:
    return protocol.transport.get_extra_info("peername")


wire = Wire()
