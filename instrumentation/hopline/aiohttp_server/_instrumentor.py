"""The instrumentor of aiohttp's server."""

from __future__ import annotations

from collections.abc import Collection

from hopline.aiohttp_server._exchange import prepared, serving, stopping
from hopline.http._instrumentor import ServerInstrumentor
from hopline.http.middleware import ServerPatches

_patches = ServerPatches("aiohttp_server")
_patches.add_around("aiohttp.web_protocol", "RequestHandler._handle_request", serving(_patches.telling))
_patches.add_around("aiohttp.web_protocol", "RequestHandler.shutdown", stopping)
_patches.add_around("aiohttp.web_request", "BaseRequest._prepare_hook", prepared)
_patches.add_around("aiohttp.web_request", "Request._prepare_hook", prepared)


class AioHttpServerInstrumentor(ServerInstrumentor):
    """Instruments aiohttp's server: each request that ``aiohttp.web`` serves is served in a request context.

    A request gets a SERVER span, as the stable HTTP semantic conventions have it; a request id, taken from a valid
    ``X-Request-Id`` or generated, which the response carries back; ``http.server.request.duration`` and
    ``http.server.active_requests``; and one INFO record on the logger ``hopline.access``. Span and context last until
    the response has been sent. A WebSocket connection is one span, without metrics.

    ``instrument()`` takes ``tracer_provider`` and ``meter_provider`` (default: the global ones);
    ``request_hook(span, request)``, called when a span has started; ``response_hook(span, request, response)``, called
    before the header of the response is sent, which may be changed still; ``excluded_urls``,
    ``captured_request_headers``, ``captured_response_headers``, ``sensitive_headers``,
    ``duration_histogram_boundaries`` and ``trust_forwarded``, as
    :class:`hopline.wsgi.RequestContextMiddleware` does.

    Example:
        >>> from hopline.aiohttp_server import AioHttpServerInstrumentor
        >>> AioHttpServerInstrumentor().instrument()
        >>> AioHttpServerInstrumentor().uninstrument()
    """

    patches = _patches

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: aiohttp 3.9 or later."""
        return ("aiohttp >= 3.9, < 4",)
