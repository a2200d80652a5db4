"""The middleware that serves each request of a WSGI application in a context of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hopline._guard import guard
from hopline.http.middleware import ServerMiddleware
from hopline.http.server import ServerTelemetry
from hopline.wsgi._environ import SESSION, WsgiRequest
from hopline.wsgi._exchange import Exchange


class RequestContextMiddleware(ServerMiddleware):
    """Serves each request of a WSGI application (PEP 3333) in a context of its own.

    A request gets a SERVER span, as the stable HTTP semantic conventions have it; a request id, taken from a valid
    ``X-Request-Id`` or generated, which the response carries back; ``http.server.request.duration`` and
    ``http.server.active_requests``; and one INFO record on the logger ``hopline.access``. ``environ["REQUEST_ID"]``
    is the id, ``environ["requests"]`` the thread's configured ``requests`` session. The context holds until the
    server closes the response.

    Args:
        app: the application. One that is wrapped already makes no second span.
        **arguments: ``tracer_provider`` and ``meter_provider`` (default: the global ones);
            ``request_hook(span, environ)``, called when a span has started;
            ``response_hook(span, environ, status, headers)``, called when the application starts the response;
            ``excluded_urls``, comma-separated regular expressions of URLs that get no span;
            ``captured_request_headers``, ``captured_response_headers`` and ``sensitive_headers``, regular expressions
            for field names;
            ``duration_histogram_boundaries``, the buckets of ``http.server.request.duration`` in seconds;
            ``trust_forwarded``, whether ``Forwarded`` and ``X-Forwarded-*`` are believed.

    Raises:
        TypeError: if there is no argument of a name.
        ValueError: if an argument cannot be used.

    Example:
        >>> from hopline.wsgi import RequestContextMiddleware
        >>> def app(environ, start_response):
        ...     start_response("200 OK", [("Content-Type", "text/plain")])
        ...     return [b"hello"]
        >>> app = RequestContextMiddleware(app)
    """

    __slots__ = ()

    interface = "wsgi"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Serve one request; what the application raises goes through unchanged."""
        telemetry = self._telling.telemetry
        exchange = None if telemetry is None else guard(_begin, telemetry, environ, start_response)
        if exchange is None:
            return self._app(environ, start_response)
        step = exchange.serving.enter()
        try:
            result = self._app(environ, exchange.start_response)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            exchange.serving.leave(step)
        return exchange.respond_with(result)


def _begin(telemetry: ServerTelemetry, environ: dict[str, Any], start_response: Callable[..., Any]) -> Exchange | None:
    call = telemetry.start(WsgiRequest(environ), environ)
    if call is None:
        return None
    environ["REQUEST_ID"] = call.serving.request_id
    environ["requests"] = SESSION
    return Exchange(call, environ, start_response)
