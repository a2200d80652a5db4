"""The request context: what is known about the request or job that is being served.

It is stored in the OpenTelemetry context, so it goes wherever a trace goes. It is immutable: a task, thread or
greenlet that inherits it sees its parent's values, and what it sets itself reaches neither parent nor siblings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from time import time

from hopline._extras import LoggingExtras
from hopline._scope import Total
from hopline._state import (
    Begun,
    State,
    accepted,
    begin,
    clear,
    completed,
    current,
    current_or_new,
    end,
    fresh_scope,
    put,
    with_deadline,
    with_request_id,
)
from hopline.deadline import Deadline

__all__ = [
    "Begun",
    "Context",
    "RequestContext",
    "begin",
    "bounded",
    "completed",
    "current",
    "end",
    "time_left",
    "with_deadline",
    "with_request_id",
]


def current_deadline() -> Deadline | None:
    """The deadline of the request that is being served, whether it has passed or not, or None."""
    state = current()
    return None if state is None else state.deadline


def time_left() -> float | None:
    """Seconds left until the deadline of the request that is being served, or None without one.

    Raises:
        DeadlineExceeded: if it has passed.
    """
    deadline = current_deadline()
    return None if deadline is None else deadline.left()


def bounded(timeout: float | None) -> float | None:
    """The shorter one of ``timeout`` (seconds, None for none) and what is left until the deadline.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    left = time_left()
    return timeout if left is None else left if timeout is None else min(timeout, left)


class RequestContext:
    """The context of the request or job that is being served; ``hopline.Context`` is the one instance.

    Example:
        >>> from hopline import Context
        >>> Context.new("order-17")
        'order-17'
        >>> Context.request_id
        'order-17'
        >>> Context.clear()
        >>> Context.request_id is None
        True
    """

    __slots__ = ()

    @property
    def request_id(self) -> str | None:
        """The id of the request, or None outside of any.

        Setting it keeps the rest of the context; with no context yet, one begins. A value that is not a valid
        request id (see :func:`hopline.request_id.is_valid`) is replaced by a generated one, with a WARNING.
        """
        state = current()
        return None if state is None else state.request_id

    @request_id.setter
    def request_id(self, request_id: str | None) -> None:
        put(replace(current_or_new(), request_id=None if request_id is None else accepted(request_id)))

    def new(self, request_id: str | None = None) -> str:
        """Begin a fresh context; nothing of the one before stays.

        Args:
            request_id: the id of the request or job; a random UUID unless given. One that is not valid is
                replaced by a generated one, with a WARNING.

        Returns:
            The request id.
        """
        chosen = accepted(request_id)
        put(State(fresh_scope(), chosen))
        return chosen

    def clear(self) -> None:
        """End the context: afterwards there is no request id, no extra and no deadline."""
        clear()

    @property
    def logging(self) -> LoggingExtras:
        """What is pushed for the log records; ``with Context.logging(user="ada"):`` pushes for a block."""
        return _logging

    @property
    def deadline(self) -> datetime | None:
        """When whoever asked for the request stops waiting for its answer, in UTC, or None for never.

        It is sent with the requests that are made meanwhile, and their time-outs are bounded by it.
        """
        deadline = current_deadline()
        return None if deadline is None else deadline.moment

    def set_relative_deadline(self, ms: float) -> None:
        """Set the deadline, from now; with no context yet, one begins.

        Args:
            ms: milliseconds; with 0 or less it has passed.

        Raises:
            ValueError: if that is no moment from the year 1 to 9999.
        """
        _set_deadline(Deadline(time() + ms / 1000))

    def set_absolute_deadline(self, deadline: datetime | float | None) -> None:
        """Set the deadline, or take it away; with no context yet, one begins.

        Args:
            deadline: the moment (a naive ``datetime`` is local time), or seconds since the epoch, or None.

        Raises:
            ValueError: if that is no moment from the year 1 to 9999.
        """
        at = deadline.timestamp() if isinstance(deadline, datetime) else deadline
        _set_deadline(None if at is None else Deadline(at))

    def deadline_timeout(self) -> float | None:
        """How long one may still take: seconds left until the deadline, at most 24 days, or None without one.

        Raises:
            DeadlineExceeded: if it has passed.
        """
        return time_left()

    def track(self, kind: str, ms: float) -> None:
        """Add one piece of work to the request's totals; with no context yet, one begins.

        Threads, tasks and greenlets that serve the same request add to the same totals. 64 kinds are told apart;
        what is more is added up as ``other``.

        Args:
            kind: what was done, for instance ``sql``.
            ms: how long it took, in milliseconds.

        Raises:
            ValueError: if ``ms`` is negative or not finite.
        """
        state = current_or_new()
        if state is not current():
            put(state)
        state.scope.track(kind, ms)

    @property
    def totals(self) -> Mapping[str, Total]:
        """What was tracked for the request so far, by kind: how many times and how many milliseconds."""
        state = current()
        return {} if state is None else state.scope.totals()


def _set_deadline(deadline: Deadline | None) -> None:
    put(replace(current_or_new(), deadline=deadline))


_logging = LoggingExtras()


Context = RequestContext()
