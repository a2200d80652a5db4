"""Threads, executors and greenlets that carry all context variables of whoever starts them.

Importing this package imports neither gevent nor eventlet: each library is patched when the application imports it.
"""

from hopline.concurrency._instrumentor import EventletInstrumentor, GeventInstrumentor, ThreadingInstrumentor

__all__ = ["EventletInstrumentor", "GeventInstrumentor", "ThreadingInstrumentor"]
