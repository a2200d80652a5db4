"""How context variables are carried: copied once where work is given away, so that what it sets stays with it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


def call_in_copy(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """Wraps what is called as ``(function, *args, **kwargs)``: the function runs in a copy of the caller's context."""
    context = copy_context()
    if not args or not context:
        return wrapped(*args, **kwargs)
    return wrapped(context.run, *args, **kwargs)


def submit_in_copy(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """As :func:`call_in_copy`, where the call may also start threads that will work for others too."""
    context = copy_context()
    if not args or not context:
        return wrapped(*args, **kwargs)
    # An empty context, or the thread would keep that of the first who submitted something.
    return Context().run(wrapped, context.run, *args, **kwargs)


class InCopies:
    """A function that runs in copies of one context, each call in its own, for calls may be made at the same time."""

    __slots__ = ("_context", "_function")

    def __init__(self, context: Context, function: Callable[..., Any]) -> None:
        self._context = context
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._context.copy().run(self._function, *args, **kwargs)


def give(greenlet: Any) -> Any:
    """Give a greenlet that has not run yet a copy of the current context, unless it has one; returns the greenlet."""
    context = copy_context()
    if context and greenlet.gr_context is None:
        greenlet.gr_context = context
    return greenlet


def give_to_result(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """Wraps what returns a greenlet that has not run yet."""
    return give(wrapped(*args, **kwargs))
