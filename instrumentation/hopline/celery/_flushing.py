"""Sending out what is held back, before a worker's process ends."""

from __future__ import annotations

from opentelemetry._logs import get_logger_provider
from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider

from hopline import _flushing

_SECONDS = 5.0


def flush(**_: object) -> None:
    """Flush spans, metrics and logs, for at most five seconds.

    Celery's signals ``worker_process_shutdown`` and ``worker_shutdown`` call it: a pool process ends with
    ``os._exit``, which runs none of the SDK's own exit handlers.
    """
    providers = {"spans": get_tracer_provider(), "metrics": get_meter_provider(), "logs": get_logger_provider()}
    _flushing.flush(providers, _SECONDS)
