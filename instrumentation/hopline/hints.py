"""What the application says of the requests that it is about to make: their URL's template, expected statuses."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from hopline._decorate import during

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Hints:
    """What holds in one block.

    Attributes:
        template: the template of the URLs, or None.
        expected: the statuses that are no error.
        around: what holds around the block while it lasts, or None.
    """

    template: str | None = None
    expected: frozenset[int] = frozenset()
    around: Hints | None = None


_hints: ContextVar[Hints | None] = ContextVar("hopline_hints", default=None)

# What holds here, or None; bound once, for it is asked for at each request.
current_hints = _hints.get


class Hinting:
    """Hints for a ``with`` block or a decorated function of any kind; may be used again, also at the same time."""

    __slots__ = ("_expected", "_template")

    def __init__(self, template: str | None = None, expected: frozenset[int] = frozenset()) -> None:
        self._template = template
        self._expected = expected

    def __enter__(self) -> None:
        around = _hints.get()
        template, expected = (None, frozenset[int]()) if around is None else (around.template, around.expected)
        _hints.set(Hints(template if self._template is None else self._template, expected | self._expected, around))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        hints = _hints.get()
        if hints is None:
            return
        _hints.set(hints.around)
        # A task begun in the block keeps the hints, and may begin the next one, in the same block, for ever.
        hints.around = None

    def __call__(self, function: F) -> F:
        """Decorate ``function``; for a generator function the hints hold while its body runs, not at its yields."""
        return during(function, lambda: self, lambda: self)


def url_template(template: str) -> Hinting:
    """Name the URLs of the requests made in a block, or in a decorated function, by their template.

    It becomes ``url.template`` on spans and metrics, part of the span's name and of the statsd name, and wins over
    the rules in ``OTEL_PYTHON_HOPLINE_URL_TEMPLATES``.

    Args:
        template: for instance ``/users/{id}``.

    Example:
        >>> with url_template("/users/{id}"):
        ...     current_hints().template
        '/users/{id}'
    """
    return Hinting(template=template)


def expected_status(*statuses: int) -> Hinting:
    """Say that these statuses are no error of the requests made in a block, or in a decorated function.

    A span that ends with one of them keeps its status unset and gets no ``error.type``. Blocks add up.

    Args:
        *statuses: HTTP status codes, for instance 404 and 410.

    Raises:
        ValueError: if one is no number.

    Example:
        >>> with expected_status(404, 410):
        ...     sorted(current_hints().expected)
        [404, 410]
    """
    return Hinting(expected=frozenset(map(int, statuses)))
