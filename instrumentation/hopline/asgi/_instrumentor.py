"""The instrumentor of ASGI servers: it wraps whatever application they serve."""

from __future__ import annotations

from hopline.asgi._middleware import RequestContextMiddleware
from hopline.http._instrumentor import ServerInstrumentor
from hopline.http.middleware import ServerPatches, loaded

_patches = ServerPatches(RequestContextMiddleware)
_patches.add("uvicorn.config", "Config.load", loaded("loaded_app"))
_patches.add("hypercorn.app_wrappers", "ASGIWrapper.__init__", loaded("app"))
_patches.add("gunicorn.workers.gasgi", "ASGIWorker.load_wsgi", loaded("asgi"))


class AsgiInstrumentor(ServerInstrumentor):
    """Instruments ASGI servers: each application that they serve is served in a request context.

    The servers are uvicorn, hypercorn and gunicorn's ASGI worker. Elsewhere, wrap the application in
    :class:`RequestContextMiddleware`, whose keyword arguments ``instrument()`` takes as well.

    Example:
        >>> from hopline.asgi import AsgiInstrumentor
        >>> AsgiInstrumentor().instrument()
        >>> AsgiInstrumentor().uninstrument()
    """

    patches = _patches
