"""aiohttp's server: each request and WebSocket connection gets a SERVER span, a request id and an access log record.

Importing this package does not import aiohttp: it is patched when the application imports ``aiohttp.web``.
"""

from hopline.aiohttp_server._instrumentor import AioHttpServerInstrumentor

__all__ = ["AioHttpServerInstrumentor"]
