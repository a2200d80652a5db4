"""Spans whose attributes are known to be well-formed: the SDK itself checks each of them, for each span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Link, ProxyTracer, Span, SpanKind, Tracer

from hopline.http.sdk_releases import is_of_sdk


class Spans(Protocol):
    """Starts the spans of one tracer, all of one kind, and gives them attributes."""

    def start(
        self, name: str, parent: Context, attributes: Mapping[str, Any], start_time: int, links: Sequence[Link] = ()
    ) -> Span:
        """Start a span.

        Args:
            name: its name.
            parent: the context that holds its parent.
            attributes: its attributes; the sampler sees them.
            start_time: when it starts, in nanoseconds since the epoch.
            links: its links.
        """

    def add(self, span: Span, attributes: Mapping[str, Any]) -> None:
        """Give one of these spans more attributes; one that has ended gets none.

        Args:
            span: the span.
            attributes: the attributes; no name is empty.
        """


def spans_of(tracer: Tracer, kind: SpanKind) -> Spans:
    """What makes spans with a tracer, of any implementation of the API."""
    if not is_of_sdk(tracer, "opentelemetry.sdk.trace"):
        return _Plain(tracer, kind)
    from hopline.http.sdk_spans import Shortcut, is_usual

    return Shortcut(tracer, kind) if is_usual(tracer) else _Plain(tracer, kind)


class _Plain:
    """Makes spans by the public methods of the API."""

    __slots__ = ("_instead", "_kind", "_tracer")

    def __init__(self, tracer: Tracer, kind: SpanKind) -> None:
        self._tracer = tracer
        self._kind = kind
        self._instead: Spans | None = None

    def start(
        self, name: str, parent: Context, attributes: Mapping[str, Any], start_time: int, links: Sequence[Link] = ()
    ) -> Span:
        instead = self._instead or self._find()
        if instead is not None:
            return instead.start(name, parent, attributes, start_time, links)
        return self._tracer.start_span(name, parent, self._kind, attributes, links, start_time)

    def add(self, span: Span, attributes: Mapping[str, Any]) -> None:
        if self._instead is not None:
            self._instead.add(span, attributes)
        else:
            span.set_attributes(attributes)

    def _find(self) -> Spans | None:
        # The API hands out a stand-in until there is a provider.
        if isinstance(self._tracer, ProxyTracer):
            real = getattr(self._tracer, "_real_tracer", None)
            if real is not None:
                self._instead = spans_of(real, self._kind)
        return self._instead
