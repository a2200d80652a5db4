"""hopline follows one request through every hop: a span, a request id and a statsd line each.

Importing it imports no HTTP library.
"""

from hopline._detached import detached
from hopline._version import __version__
from hopline.context import Context
from hopline.deadline import DeadlineExceeded

__all__ = ["Context", "DeadlineExceeded", "__version__", "detached"]
