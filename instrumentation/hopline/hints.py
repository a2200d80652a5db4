"""What the application says of the requests that it is about to make: their URL's template, expected statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Hints:
    """What holds in one block.

    Attributes:
        template: the template of the URLs, or None.
        expected: the statuses that are no error.
    """

    template: str | None = None
    expected: frozenset[int] = frozenset()


_hints: ContextVar[Hints | None] = ContextVar("hopline_hints", default=None)

# What holds here, or None; bound once, for it is asked for at each request.
current_hints = _hints.get


@contextmanager
def url_template(template: str) -> Iterator[None]:
    """Name the URLs of the requests made in this block by their template.

    It becomes ``url.template`` on spans and metrics, part of the span's name and of the statsd name, and wins over
    the rules in ``OTEL_PYTHON_HOPLINE_URL_TEMPLATES``.

    Args:
        template: for instance ``/users/{id}``.

    Example:
        >>> with url_template("/users/{id}"):
        ...     current_hints().template
        '/users/{id}'
    """
    token = _hints.set(replace(_hints.get() or Hints(), template=template))
    try:
        yield
    finally:
        _hints.reset(token)


@contextmanager
def expected_status(*statuses: int) -> Iterator[None]:
    """Say that these statuses are no error of the requests made in this block.

    A span that ends with one of them keeps its status unset and gets no ``error.type``. Blocks add up.

    Args:
        *statuses: HTTP status codes, for instance 404 and 410.

    Example:
        >>> with expected_status(404, 410):
        ...     sorted(current_hints().expected)
        [404, 410]
    """
    hints = _hints.get() or Hints()
    token = _hints.set(replace(hints, expected=hints.expected.union(statuses)))
    try:
        yield
    finally:
        _hints.reset(token)
