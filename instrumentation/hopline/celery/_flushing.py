"""Sending out what is held back, before a process ends without telling Python so."""

from __future__ import annotations

from opentelemetry._logs import get_logger_provider
from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider

from hopline._guard import guard

_TIMEOUT_MS = 5_000


def flush(**_: object) -> None:
    """Flush spans, metrics and logs, each for at most five seconds.

    Celery's signals ``worker_process_shutdown`` and ``worker_shutdown`` call it: a pool process ends with
    ``os._exit``, which runs none of the SDK's own exit handlers.
    """
    for provider in (get_tracer_provider(), get_meter_provider(), get_logger_provider()):
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is not None:
            guard(force_flush, _TIMEOUT_MS)
