"""gunicorn's access log: its line is written in the context of the request that it tells of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hopline.http.server import call_of

_ENVIRON = 2


def in_its_context(wrapped: Callable[..., Any], _logger: object, args: Any, kwargs: Any) -> Any:
    """Around ``Logger.access``, which gunicorn calls between reading and closing the response."""
    environ = args[_ENVIRON] if len(args) > _ENVIRON else kwargs.get("environ")
    call = call_of(environ) if isinstance(environ, dict) else None
    if call is None:
        return wrapped(*args, **kwargs)
    serving = call.serving
    step = serving.enter()
    try:
        return wrapped(*args, **kwargs)
    finally:
        serving.leave(step)
