"""The context of a request or job that is served in steps, each of which may run in another thread."""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context as OtelContext

from hopline._state import Begun, Scope, State, accepted
from hopline.context import current


class Serving:
    """One request's context: entered for each step, and between them attached nowhere.

    What a step sets (an extra that it pushes, a span that it leaves open) is there again in the next one.

    Args:
        context: the OpenTelemetry context to serve it in, as extracted from what came in.
    """

    __slots__ = ("_context", "_scope", "_state")

    def __init__(self, context: OtelContext) -> None:
        known = current(context)
        request_id, deadline = (None, None) if known is None else (known.request_id, known.deadline)
        self._context = context
        self._scope = Scope(extracted=True)
        self._state = State(self._scope, accepted(request_id), deadline=deadline)

    def enter(self) -> Begun:
        """Begin a step in this thread, task or greenlet; pass what this returns to :meth:`leave` at its end."""
        return Begun(self._state, self._context)

    def leave(self, step: Begun) -> None:
        """End a step: what was attached before it is attached again, and nothing else."""
        self._context = otel_context.get_current()
        self._state = current() or self._state
        step.end()

    @property
    def request_id(self) -> str | None:
        """The request's id, as the last step left it; None if the application has cleared it."""
        return self._state.request_id

    def totals(self) -> dict[str, tuple[int, float]]:
        """What has been tracked: by kind, how often and how many milliseconds altogether."""
        return dict(self._scope.totals())
