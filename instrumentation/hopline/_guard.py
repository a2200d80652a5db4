"""The one place where an error of ours, or of a user's hook, stops: it is logged once per kind and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from logging import getLogger
from typing import ParamSpec, TypeVar

from hopline._errors import is_of_a_signal

_logger = getLogger("hopline")
_MAX_KINDS = 256

# What was stopped, by kind; bounded, read by `stopped_errors`.
_stopped: Counter[str] = Counter()

P = ParamSpec("P")
T = TypeVar("T")


def guard(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call ``function``; what it raises ends here and never reaches the application.

    Args:
        function: our own code, or a hook that the user gave us.
        *args: passed on.
        **kwargs: passed on.

    Returns:
        What ``function`` returned, or None when it raised an ``Exception``. A ``BaseException``
        (``KeyboardInterrupt``, a greenlet's time-out) is not ours to stop and goes through; so does what the handler
        of a signal raises, such as Celery's soft time limit.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if is_of_a_signal(error):
            raise
        _record(function, error)
        return None


def stopped_errors() -> dict[str, int]:
    """How many errors were stopped, by kind (``function: error type``)."""
    return dict(_stopped)


def _record(function: Callable[..., object], error: Exception) -> None:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    kind = f"{name}: {type(error).__qualname__}"
    if kind not in _stopped and len(_stopped) >= _MAX_KINDS:
        kind = "other"
    first = kind not in _stopped
    _stopped[kind] += 1
    if first:
        _logger.warning(
            "hopline: %s raised %s; the application goes on. Further errors of this kind are only counted.",
            name,
            type(error).__qualname__,
            exc_info=error,
        )
