"""The deadline of the request that is being served bounds how long requests may wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hopline.context import time_left
from hopline.deadline import DeadlineExceeded

_TIMEOUT = 2  # of the arguments of HTTPAdapter.send, after the request and stream


def in_time(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keyword arguments with a time-out of at most what is left until the deadline.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    left = time_left()
    if left is None:
        return arguments
    return {**arguments, "timeout": _bounded(arguments.get("timeout"), left)}


def asked_in_time(session: Any, request: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same for what a session is asked; where that is no time-out, the adapter may have one of its own.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    bounded = in_time(arguments)
    return arguments if arguments.get("timeout") is None and _has_http_adapter(session, request) else bounded


def adapted_in_time(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The same for the arguments of ``HTTPAdapter.send``, by whichever way the time-out comes.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    if len(args) <= _TIMEOUT:
        return args, in_time(kwargs)
    bounded = in_time({"timeout": args[_TIMEOUT]})
    return (*args[:_TIMEOUT], bounded["timeout"], *args[_TIMEOUT + 1 :]), kwargs


def passed_in(error: BaseException) -> DeadlineExceeded | None:
    """The passed deadline that requests, which takes it for an error of the connection, has put into ``error``."""
    inner = error.args[0] if error.args else None
    return inner if isinstance(inner, DeadlineExceeded) else None


def _has_http_adapter(session: Any, request: Any) -> bool:
    from requests.adapters import HTTPAdapter

    try:
        return isinstance(session.get_adapter(request.url), HTTPAdapter)
    except ValueError:  # for requests to refuse
        return False


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
