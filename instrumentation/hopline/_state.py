"""Where the request context is kept: an immutable state in the OpenTelemetry context, and its newest version."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, replace
from logging import getLogger
from types import TracebackType

from opentelemetry import context as otel_context
from opentelemetry.context import Context as OtelContext

from hopline._levels import NO_EXTRAS, Extras
from hopline._scope import Scope
from hopline.deadline import Deadline
from hopline.request_id import is_valid, new_root

_logger = getLogger("hopline.context")

_KEY = otel_context.create_key("hopline")


@dataclass(frozen=True, slots=True)
class State:
    """One version of what is known; a change makes a new one."""

    scope: Scope
    request_id: str | None
    extras: Extras = NO_EXTRAS
    deadline: Deadline | None = None

    def now(self) -> State:
        """What still holds of it: a deadline does until the request that it was set in has been answered."""
        if self.deadline is None or self.deadline.made > self.scope.lineage.answered:
            return self
        return replace(self, deadline=None)


# The newest version in this execution context. Detaching a span's context must not undo what was set inside
# its block, so the OpenTelemetry context alone, which then goes back to an older version, cannot tell.
newest_state: ContextVar[State | None] = ContextVar("hopline_newest", default=None)


def current(context: OtelContext | None = None) -> State | None:
    """The state that holds in ``context`` (default: the current OpenTelemetry context), or None."""
    if context is None:
        return here(otel_context.get_current())
    attached = context.get(_KEY)
    if not isinstance(attached, State):
        return None
    newest = newest_state.get()
    state = newest if newest is not None and newest.scope is attached.scope else attached
    return state if state.deadline is None else state.now()


def here(context: OtelContext) -> State | None:
    """The state that holds here, where ``context`` is the current OpenTelemetry context, or None."""
    attached = context.get(_KEY)
    newest = newest_state.get()
    if not isinstance(attached, State):
        # Begun by the application inside a span's block that has ended since: it holds until it is cleared.
        state = newest if newest is not None and not newest.scope.extracted else None
    else:
        # Where one is current whose request is over, a span's block has ended in which the application began the next.
        state = newest if newest is not None and _replaces(newest, attached) else attached
    return state if state is None or state.deadline is None else state.now()


def _replaces(newest: State, attached: State) -> bool:
    return newest.scope.lineage is attached.scope.lineage


def attached_to(context: OtelContext) -> State | None:
    """The state that ``context`` itself holds, which need not be the newest version, or None."""
    attached = context.get(_KEY)
    return attached if isinstance(attached, State) else None


def attach_to(context: OtelContext, state: State) -> OtelContext:
    """A copy of ``context`` in which ``state`` holds."""
    return otel_context.set_value(_KEY, state, context)


def completed(context: OtelContext) -> OtelContext:
    """``context``, the current one, or a copy of it in which the state that holds here is also attached."""
    newest = newest_state.get()
    if newest is None:
        return context
    attached = context.get(_KEY)
    if isinstance(attached, State):
        is_attached = newest.scope is attached.scope or not _replaces(newest, attached)
    else:
        is_attached = newest.scope.extracted
    return context if is_attached else attach_to(context, newest)


def with_request_id(context: OtelContext, request_id: str) -> OtelContext:
    """A copy of ``context`` in which a request with ``request_id`` begins."""
    known = attached_to(context)
    # What has been extracted before the id belongs to the same request.
    same = known is not None and known.scope.extracted and known.request_id is None
    begun = State(Scope(extracted=True), request_id, deadline=known.deadline if known is not None and same else None)
    return attach_to(context, begun)


def with_deadline(context: OtelContext, deadline: Deadline) -> OtelContext:
    """A copy of ``context`` in which the request that has begun in it has ``deadline``."""
    known = attached_to(context)
    begun = State(Scope(extracted=True), None if known is None else known.request_id, deadline=deadline)
    return attach_to(context, begun)


def accepted(request_id: str | None) -> str:
    """``request_id``, or a generated one: unless one is given, and, with a WARNING, for one that is not valid."""
    if request_id is None:
        return new_root()
    if is_valid(request_id):
        return request_id
    # Not raised, for the id may come from outside; not shown, for it may be hostile.
    _logger.warning("a request id that is not valid was replaced by a generated one")
    return new_root()


def fresh_scope() -> Scope:
    """The scope of a request that the application begins here, in the place of what holds."""
    known = current()
    return Scope(within=None if known is None else known.scope)


def current_or_new() -> State:
    """The state that holds here; with none, the empty one of a context that begins (it is not set yet)."""
    known = current()
    return State(fresh_scope(), None) if known is None or known.scope.ended else known


def put(state: State) -> None:
    """Make ``state`` the one that holds here."""
    otel_context.attach(attach_to(otel_context.get_current(), state))
    newest_state.set(state)


def clear() -> None:
    """Make nothing hold here."""
    # An empty version, not none: it also hides what the OpenTelemetry context of an enclosing span holds.
    scope = fresh_scope()
    scope.ended = True
    put(State(scope, None))


class Begun:
    """A request or job that has begun; :func:`end` or leaving its ``with`` block ends it.

    Attributes:
        state: what holds when it begins.
    """

    __slots__ = ("_newest", "_outer", "state")

    def __init__(self, state: State, context: OtelContext) -> None:
        self.state = state
        self._newest = newest_state.set(state)
        self._outer = otel_context.attach(attach_to(context, state))

    def __enter__(self) -> Begun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End it; see :func:`end`."""
        self.state.scope.lineage.answer()
        self.leave()

    def leave(self) -> None:
        """Have what was current before current again, of a request that goes on."""
        try:
            newest_state.reset(self._newest)
        except (RuntimeError, ValueError):
            # It has ended already, or this is another execution context than it began in, with nothing to restore.
            return
        otel_context.detach(self._outer)


def begin(
    request_id: str | None = None, *, context: OtelContext | None = None, deadline: Deadline | None = None
) -> Begun:
    """Begin serving one request or job: until it ends, its own context holds, with totals and extras of its own.

    Args:
        request_id: its id; by default the one that ``context`` was extracted with, else a generated one. One that
            is not valid is replaced by a generated one, with a WARNING.
        context: the OpenTelemetry context to serve it in, as extracted from what came in (default: the current one,
            as the application's own beginning of a fresh request).
        deadline: until when an answer is waited for; by default what ``context`` was extracted with.

    Returns:
        What to :func:`end`; also a context manager, in synchronous and asynchronous code.
    """
    known = None if context is None else attached_to(context)
    if known is not None:
        request_id, deadline = request_id or known.request_id, deadline or known.deadline
    state = State(Scope(extracted=True), accepted(request_id), deadline=deadline)
    return Begun(state, otel_context.get_current() if context is None else context)


def end(begun: Begun) -> None:
    """End what has begun: OpenTelemetry's context and ours are what they were before.

    Called twice, or in another execution context than it began in (a generator that another thread closes), it does
    nothing.
    """
    begun.end()
