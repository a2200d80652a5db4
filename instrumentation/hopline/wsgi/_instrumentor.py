"""The instrumentor of WSGI servers: it wraps whatever application they serve."""

from __future__ import annotations

from hopline._serving import in_a_turn
from hopline.http._instrumentor import ServerInstrumentor
from hopline.http.middleware import MiddlewarePatches, argument, loaded, used
from hopline.wsgi._environ import checked
from hopline.wsgi._middleware import RequestContextMiddleware

_patches = MiddlewarePatches(RequestContextMiddleware)
_patches.add("wsgiref.handlers", "BaseHandler.run", argument(0, "application"))
_patches.add("werkzeug.serving", "BaseWSGIServer.__init__", argument(2, "app"))
_patches.add("waitress.server", "BaseWSGIServer.__init__", argument(0, "application"))
_patches.add("gevent.pywsgi", "WSGIHandler.run_application", used("application"))
_patches.add("tornado.wsgi", "WSGIContainer.__init__", argument(0, "wsgi_application"))
_patches.add("paste.httpserver", "WSGIServerBase.__init__", argument(0, "wsgi_application"))
_patches.add("hypercorn.app_wrappers", "WSGIWrapper.run_app", used("app"))
# gunicorn's workers one by one: those that serve ASGI inherit from the same base.
_patches.add("gunicorn.workers.sync", "SyncWorker.load_wsgi", loaded("wsgi"))
_patches.add("gunicorn.workers.gthread", "ThreadWorker.load_wsgi", loaded("wsgi"))
_patches.add("gunicorn.workers.base_async", "AsyncWorker.load_wsgi", loaded("wsgi"))
_patches.add_around("gunicorn.workers.sync", "SyncWorker.handle", in_a_turn)
_patches.add_around("gunicorn.workers.gthread", "ThreadWorker.handle", in_a_turn)
# A greenlet of theirs handles one connection, which may bring several requests.
_patches.add_around("gunicorn.workers.base_async", "AsyncWorker.handle_request", in_a_turn)
_patches.add_around("waitress.channel", "HTTPChannel.service", in_a_turn)
_patches.add_around("werkzeug.serving", "WSGIRequestHandler.run_wsgi", in_a_turn)
# No servers, but they refuse an environ for what the middleware has put into it.
_patches.add_around("wsgiref.validate", "check_environ", checked)
_patches.add_around("paste.lint", "check_environ", checked)


class WsgiInstrumentor(ServerInstrumentor):
    """Instruments WSGI servers: each application that they serve is served in a request context.

    The servers are wsgiref, werkzeug, gunicorn (its sync, gthread, gevent and eventlet workers), waitress, gevent,
    hypercorn, Tornado and Paste. Elsewhere, wrap the application in :class:`RequestContextMiddleware`, whose keyword
    arguments ``instrument()`` takes as well.

    Example:
        >>> from hopline.wsgi import WsgiInstrumentor
        >>> WsgiInstrumentor().instrument()
        >>> WsgiInstrumentor().uninstrument()
    """

    patches = _patches
