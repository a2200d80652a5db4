"""hopline follows one request through every hop: a span, a request id and a statsd line each.

Importing it imports no HTTP library.
"""

from hopline._version import __version__
from hopline.context import Context
from hopline.hints import expected_status, url_template
from hopline.hosts import register_host_name

__all__ = ["Context", "__version__", "expected_status", "register_host_name", "url_template"]
