"""The context of a request or job that is served in steps, each of which may run in another thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context as OtelContext

from hopline._scope import Scope
from hopline._state import Begun, State, accepted, newest_state
from hopline.context import current

# Whether this is a server's turn, all that it does for one request, and not a step of the application's in it: what
# the application calls, starts and serves meanwhile has no part in the turn.
_is_turn: ContextVar[bool] = ContextVar("hopline_turn", default=False)


def in_a_turn(wrapped: Callable[..., Any], _server: object, args: Any, kwargs: Any) -> Any:
    """Wraps what a server does for one request, before and after it calls the application.

    From the application's first step to the end of the turn the request's context stays, so that what the server logs
    meanwhile (its access log, what the application has raised) has the request's ids.
    """
    return copy_context().run(_turn, wrapped, args, kwargs)


async def in_a_turn_of_a_task(wrapped: Callable[..., Any], _server: object, args: Any, kwargs: Any) -> Any:
    """As :func:`in_a_turn`, for what a server does in an asyncio task that ends with the request."""
    _is_turn.set(True)
    return await wrapped(*args, **kwargs)


def _turn(wrapped: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    _is_turn.set(True)
    return wrapped(*args, **kwargs)


class Serving:
    """One request's context: entered for each step, and between them attached nowhere but in a server's turn.

    What a step sets (an extra that it pushes, a span that it leaves open) is there again in the next one.

    Args:
        context: the OpenTelemetry context to serve it in, as extracted from what came in.
    """

    __slots__ = ("_context", "_is_in_a_turn", "_scope", "_state")

    def __init__(self, context: OtelContext) -> None:
        known = current(context)
        request_id, deadline = (None, None) if known is None else (known.request_id, known.deadline)
        self._context = context
        self._is_in_a_turn = False
        self._scope = Scope(extracted=True)
        self._state = State(self._scope, accepted(request_id), deadline=deadline)

    def enter(self) -> Begun:
        """Begin a step in this thread, task or greenlet; pass what this returns to :meth:`leave` at its end."""
        self._is_in_a_turn = _is_turn.get()
        if self._is_in_a_turn:
            _is_turn.set(False)
        return Begun(self._state, self._context)

    def leave(self, step: Begun) -> None:
        """End a step: what was attached before it is attached again, and nothing else; in a server's turn it stays."""
        self._context = otel_context.get_current()
        self._state = current() or self._state
        step.leave()
        if self._is_in_a_turn:
            _is_turn.set(True)
            otel_context.attach(self._context)
            newest_state.set(self._state)

    def end(self) -> None:
        """Note that the request has been answered."""
        self._scope.lineage.answer()

    @property
    def request_id(self) -> str | None:
        """The request's id, as the last step left it; None if the application has cleared it."""
        return self._state.request_id

    @property
    def request_id_here(self) -> str | None:
        """The request's id within a step; what another request has here is not taken for it."""
        state = current()
        if state is None or state.scope.lineage is not self._scope.lineage:
            return self._state.request_id
        return state.request_id

    def totals(self) -> dict[str, tuple[int, float]]:
        """What has been tracked: by kind, how often and how many milliseconds altogether."""
        return dict(self._scope.totals())
