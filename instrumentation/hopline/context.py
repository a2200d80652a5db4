"""The request context: what is known about the request or job that is being served.

It is stored in the OpenTelemetry context, so it goes wherever a trace goes. It is immutable: a task, thread or
greenlet that inherits it sees its parent's values, and what it sets itself reaches neither parent nor siblings.
"""

from __future__ import annotations

from dataclasses import replace

from hopline._state import (
    Begun,
    Scope,
    State,
    accepted,
    begin,
    clear,
    completed,
    current,
    current_or_new,
    end,
    put,
    with_deadline,
    with_request_id,
)

__all__ = [
    "Begun",
    "Context",
    "RequestContext",
    "begin",
    "completed",
    "current",
    "end",
    "with_deadline",
    "with_request_id",
]


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
        put(State(Scope(extracted=False), chosen))
        return chosen

    def clear(self) -> None:
        """End the context: afterwards there is no request id."""
        clear()


Context = RequestContext()
