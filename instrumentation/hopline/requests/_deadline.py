"""The deadline of the request that is being served bounds how long requests may wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hopline.context import time_left


def in_time(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keyword arguments of a send, with a time-out of at most what is left until the deadline.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    left = time_left()
    if left is None:
        return arguments
    return {**arguments, "timeout": _bounded(arguments.get("timeout"), left)}


def _bounded(timeout: Any, left: float) -> Any:
    if timeout is None or isinstance(timeout, (int, float)):
        return _shorter(timeout, left)
    if isinstance(timeout, tuple):
        return tuple(_shorter(each, left) for each in timeout)
    if hasattr(timeout, "clone"):  # urllib3's Timeout, the only one that knows a total
        bounded = timeout.clone()
        bounded.total = _shorter(timeout.total, left)
        return bounded
    return timeout  # for requests to refuse


def _shorter(timeout: Any, left: float) -> Any:
    return left if timeout is None else min(timeout, left)
