"""Our ``aiohttp.TraceConfig``, and which signal of aiohttp is which step of an exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientSession, TraceConfig

from hopline._guard import guard
from hopline.aiohttp_client._exchange import Exchange
from hopline.aiohttp_client._progress import Progress
from hopline.http.client import ClientTelemetry

Receiver = Callable[[ClientSession, Any, Any], Awaitable[None]]

_OF_REQUEST: dict[str, Callable[[Exchange, Any], None]] = {
    "on_request_start": Exchange.start,
    "on_request_headers_sent": Exchange.send_headers,
    "on_request_chunk_sent": Exchange.send_chunk,
    "on_request_redirect": Exchange.redirect,
    "on_request_end": Exchange.end,
    "on_request_exception": Exchange.fail,
    "on_response_chunk_received": Exchange.receive,
}
_OF_CONNECTION: dict[str, Callable[[Progress], None]] = {
    "on_connection_queued_start": Progress.wait,
    "on_connection_queued_end": Progress.wait_no_more,
    "on_connection_create_start": Progress.make_connection,
    "on_connection_create_end": Progress.connection_made,
    "on_connection_reuseconn": Progress.reuse_connection,
    "on_dns_resolvehost_start": Progress.resolve,
    "on_dns_resolvehost_end": Progress.resolved,
    "on_dns_cache_hit": Progress.find_in_cache,
    "on_dns_cache_miss": Progress.miss_in_cache,
}


class HoplineTraceConfig(TraceConfig):
    """Tells of the requests of each session that has it among its trace configs.

    Args:
        telemetry: what they are told to; with None nothing is told.

    Attributes:
        telemetry: what they are told to; a request that has begun goes on with what it has begun with.
    """

    def __init__(self, telemetry: ClientTelemetry | None) -> None:
        super().__init__()
        self.telemetry = telemetry
        for signal, receiver in RECEIVERS.items() if telemetry is not None else ():
            getattr(self, signal).append(receiver)

    def trace_config_ctx(self, trace_request_ctx: Any = None) -> SimpleNamespace:
        """Begin an exchange."""
        return Exchange(trace_request_ctx=trace_request_ctx, telemetry=self.telemetry)


def _of_request(step: Callable[[Exchange, Any], None]) -> Receiver:
    async def receive(session: ClientSession, exchange: Exchange, params: object) -> None:
        guard(step, exchange, params)

    return receive


def _of_connection(step: Callable[[Progress], None]) -> Receiver:
    async def receive(session: ClientSession, exchange: Exchange, params: object) -> None:
        progress = exchange.progress
        if progress is not None:
            guard(step, progress)

    return receive


RECEIVERS: dict[str, Receiver] = {
    **{signal: _of_request(step) for signal, step in _OF_REQUEST.items()},
    **{signal: _of_connection(step) for signal, step in _OF_CONNECTION.items()},
}
"""What listens to each signal; all that aiohttp has are here."""
