"""Sending out what is held back, before uvicorn ends its process by the signal that it was told to end by."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGTERM
from typing import Any

from hopline._flushing import flush_all
from hopline._guard import guard

_SECONDS = 2.0


async def flushing(wrapped: Callable[..., Any], server: Any, args: Any, kwargs: Any) -> Any:
    """Wraps uvicorn's graceful shutdown, for at most two seconds more.

    When it is over uvicorn raises SIGTERM again, which ends the process without the SDK's own exit handlers. After
    Ctrl-C they run, and where a program ends its server itself nothing is sent: the program goes on.
    """
    try:
        return await wrapped(*args, **kwargs)
    finally:
        if SIGTERM in getattr(server, "_captured_signals", ()):
            guard(flush_all, _SECONDS)
