"""Sending out what is held back, before a worker's process ends."""

from __future__ import annotations

from hopline._flushing import flush_all

_SECONDS = 5.0


def flush(**_: object) -> None:
    """Flush spans, metrics and logs, for at most five seconds.

    Celery's signals ``worker_process_shutdown`` and ``worker_shutdown`` call it: a pool process ends with
    ``os._exit``, which runs none of the SDK's own exit handlers.
    """
    flush_all(_SECONDS)
