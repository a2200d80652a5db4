"""hopline follows one request through every hop: a span, a request id and a statsd line each.

Importing it imports no HTTP library.
"""

from hopline._version import __version__
from hopline.context import Context

__all__ = ["Context", "__version__"]
