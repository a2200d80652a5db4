"""The instrumentor of WSGI servers: it wraps whatever application they serve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.http.middleware import ServerPatches, argument, loaded, used
from hopline.wsgi._middleware import RequestContextMiddleware

_patches = ServerPatches(RequestContextMiddleware)
_patches.add("wsgiref.handlers", "BaseHandler.run", argument(0, "application"))
_patches.add("werkzeug.serving", "BaseWSGIServer.__init__", argument(2, "app"))
_patches.add("waitress.server", "BaseWSGIServer.__init__", argument(0, "application"))
_patches.add("gevent.pywsgi", "WSGIHandler.run_application", used("application"))
_patches.add("hypercorn.app_wrappers", "WSGIWrapper.run_app", used("app"))
# gunicorn's workers one by one: those that serve ASGI inherit from the same base.
_patches.add("gunicorn.workers.sync", "SyncWorker.load_wsgi", loaded("wsgi"))
_patches.add("gunicorn.workers.gthread", "ThreadWorker.load_wsgi", loaded("wsgi"))
_patches.add("gunicorn.workers.base_async", "AsyncWorker.load_wsgi", loaded("wsgi"))


class WsgiInstrumentor(BaseInstrumentor):
    """Instruments WSGI servers: each application that they serve is served in a request context.

    The servers are wsgiref, werkzeug, gunicorn (its sync, gthread, gevent and eventlet workers), waitress, gevent and
    hypercorn. Elsewhere, wrap the application in :class:`RequestContextMiddleware`.

    Example:
        >>> from hopline.wsgi import WsgiInstrumentor
        >>> WsgiInstrumentor().instrument()
        >>> WsgiInstrumentor().uninstrument()
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
