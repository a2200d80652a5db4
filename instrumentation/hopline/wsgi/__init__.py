"""WSGI: each request gets a SERVER span, a request id, a response header and an access log record.

``RequestContextMiddleware`` wraps one application; ``WsgiInstrumentor``, which ``opentelemetry-instrument`` uses,
wraps whatever wsgiref, werkzeug, gunicorn, waitress, gevent, hypercorn, Tornado and Paste serve. Importing this package
imports no server and no framework.
"""

from hopline.wsgi._instrumentor import WsgiInstrumentor
from hopline.wsgi._middleware import RequestContextMiddleware

__all__ = ["RequestContextMiddleware", "WsgiInstrumentor"]
