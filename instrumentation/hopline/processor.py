"""The span processor that writes the current request id on every span that starts."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from hopline.context import current

REQUEST_ID = "hopline.request_id"


class RequestIdSpanProcessor(SpanProcessor):
    """Sets ``hopline.request_id`` on each span that starts while there is a request id.

    The hopline distribution adds it by itself. Where an application builds its own provider:

    Example:
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from hopline.processor import RequestIdSpanProcessor
        >>> provider = TracerProvider()
        >>> provider.add_span_processor(RequestIdSpanProcessor())
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set the attribute from the state in ``parent_context`` (default: the current context)."""
        state = current(parent_context)
        if state is not None and state.request_id is not None:
            span.set_attribute(REQUEST_ID, state.request_id)
