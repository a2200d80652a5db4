"""Spans of every kind, made with the SDK."""

from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Tracer

MS = 1_000_000
START = 1_700_000_000_000_000_000

CALL = {
    "http.request.method": "POST",
    "server.address": "somehost.com",
    "server.port": 443,
    "url.full": "https://somehost.com/some/url",
    "http.response.status_code": 200,
}


_tracers: WeakKeyDictionary[SpanProcessor, dict[str, Tracer]] = WeakKeyDictionary()


def _tracer(processor: SpanProcessor, service: str) -> Tracer:
    tracers = _tracers.setdefault(processor, {})
    if service not in tracers:
        provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracers[service] = provider.get_tracer("tests")
    return tracers[service]


def end_span(
    processor: SpanProcessor,
    attributes: dict[str, Any],
    kind: SpanKind = SpanKind.CLIENT,
    milliseconds: float = 12.5,
    service: str = "shop",
) -> Span:
    """Start a span and end it after some time that did not pass."""
    span = _tracer(processor, service).start_span("span", kind=kind, attributes=attributes, start_time=START)
    span.end(START + round(milliseconds * MS))
    return span


def lines_of(processor: Any, listener: Any, count: int) -> list[str]:
    """Return the lines that arrived once a processor is flushed, which must be so many."""
    assert processor.force_flush()
    assert listener.wait_for(count)
    lines = listener.lines
    assert len(lines) == count
    return lines
