"""The request context: what is known about the request or job that is being served.

It is stored in the OpenTelemetry context, so it goes wherever a trace goes. It is immutable: a task, thread or
greenlet that inherits it sees its parent's values, and what it sets itself reaches neither parent nor siblings.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from logging import getLogger

from opentelemetry import context as otel_context
from opentelemetry.context import Context as OtelContext

from hopline.request_id import is_valid, new_root

_logger = getLogger(__name__)

_KEY = otel_context.create_key("hopline")


class Scope:
    """The identity of one request or job: every version of its state has the same scope."""

    __slots__ = ("extracted",)

    def __init__(self, *, extracted: bool) -> None:
        # An extracted scope lives as long as the OpenTelemetry context that it was extracted into is attached;
        # one that the application began lives until it clears it or begins another.
        self.extracted = extracted


@dataclass(frozen=True, slots=True)
class State:
    """One version of what is known; a change makes a new one."""

    scope: Scope
    request_id: str | None


# The newest version in this execution context. Detaching a span's context must not undo what was set inside
# its block, so the OpenTelemetry context alone, which then goes back to an older version, cannot tell.
_newest: ContextVar[State | None] = ContextVar("hopline_newest", default=None)


def current(context: OtelContext | None = None) -> State | None:
    """The state that holds in ``context`` (default: the current OpenTelemetry context), or None."""
    attached = (otel_context.get_current() if context is None else context).get(_KEY)
    newest = _newest.get()
    if not isinstance(attached, State):
        # Begun by the application inside a span's block that has ended since: it holds until it is cleared.
        return newest if context is None and newest is not None and not newest.scope.extracted else None
    return newest if newest is not None and newest.scope is attached.scope else attached


def attach_to(context: OtelContext, state: State) -> OtelContext:
    """A copy of ``context`` in which ``state`` holds."""
    return otel_context.set_value(_KEY, state, context)


def completed(context: OtelContext) -> OtelContext:
    """``context``, the current one, or a copy of it in which the state that holds here is also attached."""
    newest = _newest.get()
    if newest is None or newest.scope.extracted or _KEY in context:
        return context
    return attach_to(context, newest)


def with_request_id(context: OtelContext, request_id: str) -> OtelContext:
    """A copy of ``context`` in which a request with ``request_id`` begins."""
    return attach_to(context, State(Scope(extracted=True), request_id))


def _set(state: State) -> None:
    otel_context.attach(attach_to(otel_context.get_current(), state))
    _newest.set(state)


def _accepted(request_id: str | None) -> str:
    if request_id is None:
        return new_root()
    if is_valid(request_id):
        return request_id
    # Not raised, for the id may come from outside; not shown, for it may be hostile.
    _logger.warning("a request id that is not valid was replaced by a generated one")
    return new_root()


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
        state = current() or State(Scope(extracted=False), None)
        _set(replace(state, request_id=None if request_id is None else _accepted(request_id)))

    def new(self, request_id: str | None = None) -> str:
        """Begin a fresh context; nothing of the one before stays.

        Args:
            request_id: the id of the request or job; a random UUID unless given. One that is not valid is
                replaced by a generated one, with a WARNING.

        Returns:
            The request id.
        """
        accepted = _accepted(request_id)
        _set(State(Scope(extracted=False), accepted))
        return accepted

    def clear(self) -> None:
        """End the context: afterwards there is no request id."""
        attached = otel_context.get_value(_KEY)
        # An empty version, not none: it also hides what the OpenTelemetry context of an enclosing span holds.
        scope = attached.scope if isinstance(attached, State) else Scope(extracted=False)
        _set(State(scope, None))


Context = RequestContext()
