"""Background work: a trace of its own, linked to the one that started it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, TypeVar

from opentelemetry.context import get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from hopline._decorate import during
from hopline._levels import NO_EXTRAS
from hopline._scope import Lineage, Scope
from hopline._state import Begun, State, accepted, current
from hopline._version import __version__

F = TypeVar("F", bound=Callable[..., Any])


class detached:
    """Do background work in a trace of its own, for a ``with`` block or a decorated function.

    The block is an INTERNAL span, the root of the new trace; what is started in it belongs to that trace, also where
    it outlives the block (a thread, a task). The request id and the logging extras go along. The deadline does not,
    for nobody waits for the answer, and the totals of :meth:`Context.track` are the work's own.

    Args:
        name: the span's name, by default ``detached``, or the function's name.
        link: whether the new trace's root is linked to the span that is current where the work starts.
        tracer_provider: makes the span (default: the global one).

    Example:
        >>> import hopline
        >>> hopline.Context.new("order-17")
        'order-17'
        >>> with hopline.detached("refresh the cache"):
        ...     hopline.Context.request_id
        'order-17'
        >>> hopline.Context.clear()
    """

    __slots__ = ("_entered", "_link", "_name", "_provider")

    def __init__(
        self, name: str | None = None, *, link: bool = True, tracer_provider: TracerProvider | None = None
    ) -> None:
        self._name = name
        self._link = link
        self._provider = tracer_provider
        # By what each block's state has for its own, for a block may be entered again before it is left.
        self._entered: dict[Lineage | None, AbstractContextManager[Span]] = {}

    def __enter__(self) -> Span:
        block = _detached(self._name or "detached", self._link, self._provider)
        span = block.__enter__()
        self._entered[_lineage()] = block
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        block = self._entered.pop(_lineage(), None) or self._entered.popitem()[1]
        block.__exit__(kind, error, tb)

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function: each call is detached.

        Raises:
            TypeError: for a generator function, which runs on and off within other work.
        """
        name = self._name or function.__qualname__
        return during(function, lambda: _detached(name, self._link, self._provider))


def _lineage() -> Lineage | None:
    known = current()
    return None if known is None else known.scope.lineage


@contextmanager
def _detached(name: str, link: bool, provider: TracerProvider | None) -> Iterator[Span]:
    origin = get_current_span().get_span_context()
    links = [Link(origin)] if link and origin.is_valid else []
    known = current()
    request_id = accepted(None if known is None else known.request_id)
    state = State(Scope(extracted=True), request_id, NO_EXTRAS if known is None else known.extras)
    tracer = get_tracer("hopline", __version__, provider)
    with (
        Begun(state, set_span_in_context(INVALID_SPAN, get_current())),
        tracer.start_as_current_span(name, links=links) as span,
    ):
        yield span
