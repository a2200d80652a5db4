"""Instrumentation of the requests library, and sessions for each thread.

Importing this package does not import requests: it is patched when the application imports it.
"""

from hopline.requests._instrumentor import RequestsInstrumentor
from hopline.requests._sessions import clear, configure, get_session, uninstrument_session

__all__ = ["RequestsInstrumentor", "clear", "configure", "get_session", "uninstrument_session"]
