"""The instrumentor of ASGI servers: it wraps whatever application they serve."""

from __future__ import annotations

from hopline._serving import in_a_turn_of_a_task
from hopline.asgi._middleware import RequestContextMiddleware
from hopline.asgi._shutdown import flushing
from hopline.http._instrumentor import ServerInstrumentor
from hopline.http.middleware import MiddlewarePatches, loaded

_patches = MiddlewarePatches(RequestContextMiddleware)
_patches.add("uvicorn.config", "Config.load", loaded("loaded_app"))
_patches.add("hypercorn.app_wrappers", "ASGIWrapper.__init__", loaded("app"))
_patches.add("gunicorn.workers.gasgi", "ASGIWorker.load_wsgi", loaded("asgi"))
_patches.add_around("uvicorn.protocols.http.h11_impl", "RequestResponseCycle.run_asgi", in_a_turn_of_a_task)
_patches.add_around("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle.run_asgi", in_a_turn_of_a_task)
_patches.add_around("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol.run_asgi", in_a_turn_of_a_task)
_patches.add_around(
    "uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol.run_asgi", in_a_turn_of_a_task
)
_patches.add_around("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol.run_asgi", in_a_turn_of_a_task)
_patches.add_around("hypercorn.asyncio.task_group", "_handle", in_a_turn_of_a_task)
_patches.add_around("uvicorn.server", "Server._serve", flushing)


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
