"""The middleware that serves each request and connection of an ASGI application in a context of its own."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from hopline._guard import guard
from hopline.asgi._exchange import Exchange, Receive, Send
from hopline.asgi._scope import AsgiRequest, put_into
from hopline.http.middleware import ServerMiddleware
from hopline.http.server import ServerTelemetry

Scope = MutableMapping[str, Any]

_TOLD = ("http", "websocket")


class RequestContextMiddleware(ServerMiddleware):
    """Serves each request and each WebSocket connection of an ASGI 3 application in a context of its own.

    A request gets a SERVER span, as the stable HTTP semantic conventions have it; a request id, taken from a valid
    ``X-Request-Id`` or generated, which the response carries back; ``http.server.request.duration`` and
    ``http.server.active_requests``; and one INFO record on the logger ``hopline.access``. The id is
    ``scope["state"]["request_id"]``, in Starlette ``request.state.request_id``. The span ends when the response has
    been sent; the context holds until the application returns, for background tasks too. A WebSocket connection is
    one span, without metrics. Other scopes (``lifespan``) pass untouched.

    Args:
        app: the application. One that is wrapped already makes no second span.
        **arguments: ``tracer_provider`` and ``meter_provider`` (default: the global ones);
            ``request_hook(span, scope)``, called when a span has started;
            ``response_hook(span, scope, status, headers)``, called when the application starts the response;
            ``excluded_urls``, comma-separated regular expressions of URLs that get no span;
            ``captured_request_headers``, ``captured_response_headers`` and ``sensitive_headers``, regular expressions
            for field names;
            ``duration_histogram_boundaries``, the buckets of ``http.server.request.duration`` in seconds;
            ``trust_forwarded``, whether ``Forwarded`` and ``X-Forwarded-*`` are believed.

    Raises:
        TypeError: if there is no argument of a name.
        ValueError: if an argument cannot be used.

    Example:
        >>> from hopline.asgi import RequestContextMiddleware
        >>> async def app(scope, receive, send):
        ...     await send({"type": "http.response.start", "status": 200, "headers": []})
        ...     await send({"type": "http.response.body", "body": b"hello"})
        >>> app = RequestContextMiddleware(app)
    """

    __slots__ = ()

    interface = "asgi"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one scope; what the application raises, or returns though it should not, goes through unchanged."""
        telemetry = self._telling.telemetry if scope["type"] in _TOLD else None
        exchange = None if telemetry is None else guard(_begin, telemetry, scope, receive, send)
        if exchange is None:
            return await self._app(scope, receive, send)
        step = exchange.serving.enter()
        try:
            return await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            exchange.finish()
            exchange.serving.leave(step)


def _begin(telemetry: ServerTelemetry, scope: Scope, receive: Receive, send: Send) -> Exchange | None:
    request = AsgiRequest(scope)
    call = telemetry.start(request, scope)
    if call is None:
        return None
    guard(put_into, scope, call.serving.request_id)
    return Exchange(call, scope, request.root, receive, send)
