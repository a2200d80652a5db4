"""eventlet: green threads of every kind, and its pool of native threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hopline._patch import Patch, Patches
from hopline.concurrency._carry import alone, call_in_copy, give


def patches() -> Patches:
    """The patches."""
    return Patches(
        Patch("eventlet.greenthread", "GreenThread.__init__", _init),
        # What `spawn_n` and its like have in common, for they make plain greenlets.
        Patch("eventlet.greenthread", "_spawn_n", _spawn_n),
        Patch("eventlet.tpool", "execute", call_in_copy),
        # Servers, whose green threads have nothing to do with who starts them.
        Patch("eventlet.wsgi", "server", alone),
        Patch("gunicorn.workers.geventlet", "_eventlet_serve", alone),
    )


def _init(wrapped: Callable[..., None], thread: Any, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    give(thread)


def _spawn_n(wrapped: Callable[..., Any], module: object, args: Any, kwargs: Any) -> Any:
    timer, greenlet = wrapped(*args, **kwargs)
    return timer, give(greenlet)
