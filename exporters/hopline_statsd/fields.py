"""What the fields of a name template stand for: attributes, derived fields, the span, the resource."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan

Attributes = Mapping[str, Any]


def text_of(value: object) -> str:
    """Write an attribute value: booleans as `true` and `false`, sequences joined with `-`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "-".join(text_of(item) for item in value)
    return str(value)


def host_of(url: object) -> str:
    """Return the host of a URL in lower case; empty where it has none."""
    try:
        return urlsplit(str(url)).hostname or ""
    except ValueError:
        return ""


def _lower(value: object) -> str:
    return str(value).lower()


def _code(value: object) -> str:
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if is_whole else text_of(value)  # type: ignore[call-overload]


def _last_part(value: object) -> str:
    return str(value).rpartition(".")[2]


@dataclass(frozen=True)
class Source:
    """One attribute that a field may get its value from.

    Attributes:
        attribute: The attribute's name.
        read: Makes the text of the attribute's value; an empty one counts as absent.
        is_long: Whether many different values read the same, as the URLs of one host do. Such an attribute
            is looked at only where no other source has a text, and what is cached is what was read.
        is_code: Whether equal numbers read the same, whatever their types.
    """

    attribute: str
    read: Callable[[object], str] = text_of
    is_long: bool = False
    is_code: bool = False


DERIVED: Mapping[str, tuple[Source, ...]] = {
    "host": (
        Source("peer.service"),
        Source("server.address", _lower),
        Source("net.peer.name", _lower),
        Source("url.full", host_of, is_long=True),
        Source("http.url", host_of, is_long=True),
    ),
    "method": (Source("http.request.method"), Source("http.method")),
    "status": (
        Source("http.response.status_code", _code, is_code=True),
        Source("http.status_code", _code, is_code=True),
        Source("error.type", _last_part),
        Source("hopline.outcome"),
    ),
    "view": (Source("http.route"), Source("code.function.name"), Source("code.function")),
    "task": (Source("celery.task_name"),),
}
"""Fields that stand for the first of several attributes, the stable conventions before the old ones."""

_SPAN: Mapping[str, Callable[[ReadableSpan], str]] = {
    "span.name": lambda span: span.name,
    "span.kind": lambda span: span.kind.name.lower(),
    "span.status": lambda span: span.status.status_code.name.lower(),
    "span.scope": lambda span: span.instrumentation_scope.name if span.instrumentation_scope else "",
}

_RESOURCE = "resource."
ATTRIBUTE = "attribute."
"""Before a name, it says that an attribute is meant, even if a derived field has the same name."""


@dataclass(frozen=True)
class Field:
    """The first value found under one of several names.

    Attributes:
        names: Attributes, derived fields (`host`, `method`, `status`, `view`, `task`), `span.name`,
            `span.kind`, `span.status`, `span.scope`, or `resource.` and a resource attribute, in the order
            they are tried. `attribute.host` is the attribute `host`, not the derived field.
        default: What stands in where there is none.
    """

    names: tuple[str, ...]
    default: str = "unknown"

    @property
    def sources(self) -> tuple[Source, ...]:
        """The attributes that are tried, in order."""
        return tuple(source for name in self.names for source in _sources(name))

    @property
    def of_span(self) -> tuple[Callable[[ReadableSpan], str], ...]:
        """What is read from the span itself."""
        return tuple(_SPAN[name] for name in self.names if name in _SPAN)

    def value(self, scope: Scope) -> Any:
        """Find the field's value as it is; None where there is none.

        Args:
            scope: The attributes, and the span and the resource where there are some.
        """
        for name in self.names:
            value = scope.value(name)
            if value is not None and value != "":
                return value
        return None

    def text(self, scope: Scope) -> str:
        """Find the field's value as text, or its default.

        Args:
            scope: The attributes, and the span and the resource where there are some.
        """
        value = self.value(scope)
        return self.default if value is None else text_of(value) or self.default


@dataclass(frozen=True)
class Scope:
    """What a field is looked up in.

    Attributes:
        attributes: Of the span or the data point.
        resource: Attributes of the resource.
        span: The span, if it is one.
    """

    attributes: Attributes
    resource: Attributes
    span: ReadableSpan | None = None

    def value(self, name: str) -> Any:
        """Return what is known under a field's name; None where there is nothing."""
        if name in DERIVED:
            return self._first(DERIVED[name])
        if name in _SPAN:
            return None if self.span is None else _SPAN[name](self.span)
        if name.startswith(_RESOURCE):
            return self.resource.get(name[len(_RESOURCE) :])
        return self.attributes.get(name.removeprefix(ATTRIBUTE))

    def _first(self, sources: Iterable[Source]) -> str | None:
        for source in sources:
            value = self.attributes.get(source.attribute)
            text = "" if value is None else source.read(value)
            if text:
                return text
        return None


def _sources(name: str) -> tuple[Source, ...]:
    if name in _SPAN or name.startswith(_RESOURCE):
        return ()
    return DERIVED.get(name) or (Source(name.removeprefix(ATTRIBUTE)),)
