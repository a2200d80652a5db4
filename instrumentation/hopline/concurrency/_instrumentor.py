"""The instrumentors of threads, gevent and eventlet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline._patch import Patches
from hopline.concurrency import _eventlet, _gevent, _processes, _threads


class _Patching(BaseInstrumentor):
    _patches = Patches()

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: nothing, for what is never imported is never patched."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        self._patches.apply()

    def _uninstrument(self, **kwargs: Any) -> None:
        self._patches.remove()


class ThreadingInstrumentor(_Patching):
    """Makes threads, timers and executors carry the context variables of whoever starts or submits.

    ``threading.Thread`` and ``Timer``, ``ThreadPoolExecutor``, the default executor of asyncio's loops and
    ``multiprocessing.pool.ThreadPool`` carry all of them; ``ProcessPoolExecutor`` carries the ids of the request and
    of the trace, and the deadline. What the work sets stays with it.

    Example:
        >>> from hopline.concurrency import ThreadingInstrumentor
        >>> ThreadingInstrumentor().instrument()
        >>> ThreadingInstrumentor().uninstrument()
    """

    _patches = Patches(*_threads.patches(), *_processes.patches())


class GeventInstrumentor(_Patching):
    """Makes gevent's greenlets, pools and hub threads carry the context variables of whoever spawns them.

    Warns, once, where ``gevent.monkey.patch_all()`` comes too late for the modules of TLS.
    """

    _patches = _gevent.patches()


class EventletInstrumentor(_Patching):
    """Makes eventlet's green threads and pools carry the context variables of whoever spawns them."""

    _patches = _eventlet.patches()
