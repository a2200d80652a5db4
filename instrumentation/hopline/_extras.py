"""``Context.logging``: values that every log record has which is made while they are pushed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from logging import LogRecord, getLogger
from types import TracebackType
from typing import Any, TypeVar

from hopline._decorate import during
from hopline._levels import NO_EXTRAS, Extras
from hopline._state import current, current_or_new, put

F = TypeVar("F", bound=Callable[..., Any])

_logger = getLogger("hopline.context")

FIELDS = ("request_id", "otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName")
"""What every log record has beside the extras."""

STANDARD = frozenset(vars(LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
"""The attributes of every log record; ``taskName`` from Python 3.12 on."""

_TAKEN = STANDARD.union(FIELDS)


class LoggingExtras:
    """The extras; ``Context.logging`` is the one instance.

    They belong to the request or job: they end with it, with :meth:`pop`, with :meth:`unwind` or with their ``with``
    block, not with a span. A name that every log record has already gets an underscore at its end, with a WARNING.

    Example:
        >>> from hopline import Context
        >>> level = Context.logging.push(user="ada")
        >>> with Context.logging(step=2):
        ...     dict(Context.logging.extras)
        {'user': 'ada', 'step': 2}
        >>> Context.logging.unwind(level)
        >>> dict(Context.logging.extras)
        {}
    """

    __slots__ = ()

    @property
    def extras(self) -> Mapping[str, object]:
        """All that is pushed, with the newest value of each name."""
        state = current()
        return (NO_EXTRAS if state is None else state.extras).values

    def push(self, **values: object) -> int:
        """Push one level of extras; with no context yet, one begins.

        Args:
            **values: the extras; they hide those of the same name that were pushed before.

        Returns:
            The level to :meth:`unwind` to, to undo this push and those after it.
        """
        state = current_or_new()
        put(replace(state, extras=state.extras.push(_named(values))))
        return state.extras.depth

    def pop(self) -> None:
        """Undo the last push; with nothing pushed, do nothing."""
        state = current()
        if state is not None:
            self.unwind(state.extras.depth - 1)

    def unwind(self, level: int) -> None:
        """Undo every push since the one that returned ``level``, that one too."""
        state = current()
        if state is not None and state.extras.depth > level:
            put(replace(state, extras=state.extras.down_to(level)))

    def __call__(self, **values: object) -> Pushed:
        """Push extras for a ``with`` block, or for the body of a function that is decorated with this."""
        return Pushed(values)


class Pushed:
    """Extras for a ``with`` block or a decorated function of any kind; may be used again, also at the same time."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = _named(values)

    def __enter__(self) -> None:
        state = current_or_new()
        put(replace(state, extras=state.extras.push(self._values, owner=self)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        state = current()
        if state is not None:
            put(replace(state, extras=state.extras.without(self)))

    def __call__(self, function: F) -> F:
        """Decorate ``function``; for a generator function the extras hold while its body runs, not at its yields."""
        return during(function, lambda: self, partial(_Body, self._values))


class _Body:
    """The extras of one generator's body: put away when it yields, and back when it runs on."""

    __slots__ = ("_outer", "_own", "_values")

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._own: Extras | None = None
        self._outer = NO_EXTRAS

    def __enter__(self) -> None:
        state = current_or_new()
        self._outer = state.extras
        put(replace(state, extras=self._own or self._outer.push(self._values)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        state = current_or_new()
        self._own = state.extras
        put(replace(state, extras=self._outer))


def _named(values: Mapping[str, object]) -> Mapping[str, object]:
    if _TAKEN.isdisjoint(values):
        return values
    return {_free(name) if name in _TAKEN else name: value for name, value in values.items()}


@lru_cache(maxsize=len(_TAKEN))
def _free(name: str) -> str:
    # Cached, so it is said once for each name.
    free = f"{name}_"
    _logger.warning("every log record has %r already; the logging extra is named %r instead", name, free)
    return free
