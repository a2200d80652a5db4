"""hopline follows one request through every hop: a span, a request id and a statsd line each."""

from hopline._version import __version__

__all__ = ["__version__"]
