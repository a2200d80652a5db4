"""Instrumentation of the requests library.

Importing this package does not import requests: it is patched when the application imports it.
"""

from hopline.requests._instrumentor import RequestsInstrumentor

__all__ = ["RequestsInstrumentor"]
