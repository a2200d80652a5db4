"""ASGI: each request and each WebSocket connection gets a SERVER span, a request id and an access log record.

``RequestContextMiddleware`` wraps one application; ``AsgiInstrumentor``, which ``opentelemetry-instrument`` uses,
wraps whatever uvicorn, hypercorn and gunicorn's ASGI worker serve. Importing this package imports no server and no
framework.
"""

from hopline.asgi._instrumentor import AsgiInstrumentor
from hopline.asgi._middleware import RequestContextMiddleware

__all__ = ["AsgiInstrumentor", "RequestContextMiddleware"]
