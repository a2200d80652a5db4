"""Our ``aiohttp.TraceConfig``, and which signal of aiohttp is which step of an exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from aiohttp import ClientSession, TraceConfig

from hopline._guard import guard
from hopline.aiohttp_client._exchange import Exchange
from hopline.http.client import ClientTelemetry

STEPS: dict[str, Callable[[Exchange, Any], None]] = {
    "on_request_start": Exchange.start,
    "on_request_headers_sent": Exchange.send_headers,
    "on_request_chunk_sent": Exchange.send_chunk,
    "on_request_redirect": Exchange.redirect,
    "on_request_end": Exchange.end,
    "on_request_exception": Exchange.fail,
    "on_response_chunk_received": Exchange.receive,
    "on_connection_queued_start": Exchange.queue,
    "on_connection_queued_end": Exchange.leave_queue,
    "on_connection_create_start": Exchange.connect,
    "on_connection_create_end": Exchange.connected,
    "on_connection_reuseconn": Exchange.reuse,
    "on_dns_resolvehost_start": Exchange.resolve,
    "on_dns_resolvehost_end": Exchange.resolved,
    "on_dns_cache_hit": Exchange.find_in_cache,
    "on_dns_cache_miss": Exchange.miss_in_cache,
}
"""What each signal tells an exchange; all that aiohttp has are here."""


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
        for signal, step in STEPS.items() if telemetry is not None else ():
            getattr(self, signal).append(_receiver(step))

    def trace_config_ctx(self, trace_request_ctx: Any = None) -> SimpleNamespace:
        """Begin an exchange."""
        return Exchange(self.telemetry, trace_request_ctx)


def _receiver(step: Callable[[Exchange, Any], None]) -> Callable[[ClientSession, Any, Any], Awaitable[None]]:
    async def receive(session: ClientSession, exchange: Exchange, params: object) -> None:
        guard(step, exchange, params)

    return receive
