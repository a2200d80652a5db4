"""Instrumentation of Celery.

Importing this package does not import celery: its signals are connected when the application imports it.
"""

from hopline.celery._instrumentor import CeleryInstrumentor

__all__ = ["CeleryInstrumentor"]
