"""Sending out what is held back, where a process ends without telling Python so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from logging import getLogger
from time import monotonic

from opentelemetry._logs import get_logger_provider
from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider

from hopline._guard import guard

_logger = getLogger("hopline")


def flush_all(seconds: float) -> None:
    """Flush the spans, metrics and logs of the global providers, as :func:`flush` does.

    Args:
        seconds: how long to wait altogether.
    """
    flush({"spans": get_tracer_provider(), "metrics": get_meter_provider(), "logs": get_logger_provider()}, seconds)


def flush(providers: Mapping[str, object], seconds: float) -> None:
    """Have each of several providers export what it holds back, all at the same time, and wait for that.

    Args:
        providers: by what they provide: ``spans``, for instance. Those of the API alone hold nothing back.
        seconds: how long to wait altogether. The SDK's ``force_flush`` takes the time that it takes, whatever it is
            told, so it is called in threads that are left behind.
    """
    until = monotonic() + seconds
    threads = {
        name: _begin(force_flush, seconds)
        for name, provider in providers.items()
        if (force_flush := getattr(provider, "force_flush", None)) is not None
    }
    for thread in threads.values():
        thread.join(max(until - monotonic(), 0))
    late = [name for name, thread in threads.items() if thread.is_alive()]
    if late:
        _logger.warning(
            "this process ends, and its %s could not be exported within %g seconds: they may be lost",
            " and ".join(late),
            seconds,
        )


def _begin(force_flush: Callable[[int], object], seconds: float) -> threading.Thread:
    # Of what is in `threading` now: gevent, which may have patched it since, cannot wait for another one.
    thread = threading.Thread(target=guard, args=(force_flush, int(seconds * 1000)), name="hopline flush", daemon=True)
    Context().run(thread.start)
    return thread
