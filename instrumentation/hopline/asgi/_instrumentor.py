"""The instrumentor of ASGI servers: it wraps whatever application they serve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.asgi._middleware import RequestContextMiddleware
from hopline.http.middleware import ServerPatches, loaded

_patches = ServerPatches(RequestContextMiddleware)
_patches.add("uvicorn.config", "Config.load", loaded("loaded_app"))
_patches.add("hypercorn.app_wrappers", "ASGIWrapper.__init__", loaded("app"))
_patches.add("gunicorn.workers.gasgi", "ASGIWorker.load_wsgi", loaded("asgi"))


class AsgiInstrumentor(BaseInstrumentor):
    """Instruments ASGI servers: each application that they serve is served in a request context.

    The servers are uvicorn, hypercorn and gunicorn's ASGI worker. Elsewhere, wrap the application in
    :class:`RequestContextMiddleware`.

    Example:
        >>> from hopline.asgi import AsgiInstrumentor
        >>> AsgiInstrumentor().instrument()
        >>> AsgiInstrumentor().uninstrument()
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing need be installed: a server is instrumented when it is imported."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        """Instrument every server.

        Args:
            **kwargs: as :class:`RequestContextMiddleware` takes them.

        Raises:
            ValueError: if an argument cannot be used.
        """
        _patches.apply(kwargs)

    def _uninstrument(self, **kwargs: Any) -> None:
        _patches.remove()
