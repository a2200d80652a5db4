"""Instrumentation of aiohttp's client.

Importing this package does not import aiohttp: it is patched when the application imports it.
"""

from hopline.aiohttp_client._instrumentor import AioHttpClientInstrumentor, create_trace_config

__all__ = ["AioHttpClientInstrumentor", "create_trace_config"]
