"""The structlog processor."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from opentelemetry.trace import get_current_span

from hopline.context import current


def add_context(logger: object, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the request and of the span, and the extras, to a structlog event.

    What the event has already stays. Put it before the renderer:

    Example:
        >>> from hopline import Context
        >>> from hopline.logging import add_context
        >>> with Context.logging(user="ada"):
        ...     add_context(None, "info", {"event": "hello"})
        {'event': 'hello', 'user': 'ada'}

    Args:
        logger: structlog's.
        method_name: structlog's.
        event_dict: the event, changed in place: ``request_id``, ``trace_id``, ``span_id`` and ``trace_flags`` (in the
            form of the specification "Trace Context in non-OTLP Log Formats"), as far as there are any, and the extras.

    Returns:
        ``event_dict``.
    """
    span = get_current_span().get_span_context()
    if span.is_valid:
        event_dict.setdefault("trace_id", f"{span.trace_id:032x}")
        event_dict.setdefault("span_id", f"{span.span_id:016x}")
        event_dict.setdefault("trace_flags", "01" if span.trace_flags.sampled else "00")
    state = current()
    if state is not None:
        if state.request_id is not None:
            event_dict.setdefault("request_id", state.request_id)
        for name, value in state.extras.values.items():
            event_dict.setdefault(name, value)
    return event_dict
