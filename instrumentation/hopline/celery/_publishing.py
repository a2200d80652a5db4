"""Publishing a task message: a PRODUCER span, and what its header carries to the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from hopline._errors import error_type_of
from hopline._guard import guard
from hopline._suppression import is_suppressed
from hopline.celery import _words as words
from hopline.celery._messages import put_into, request_id_in
from hopline.context import completed
from hopline.http.redaction import description_of
from hopline.request_id import REQUEST_ID


class Publish:
    """One message while it is published; its span is current meanwhile."""

    __slots__ = ("_outer", "_span", "_token")

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._token: Token[Context] = otel_context.attach(context)
        self._outer = _current.set(self)

    def end(self, error: BaseException | None = None) -> None:
        """End it: the broker has the message, or ``error`` says why not."""
        _current.reset(self._outer)
        otel_context.detach(self._token)
        if error is not None:
            self._span.set_attribute(ERROR_TYPE, error_type_of(error))
            self._span.set_status(StatusCode.ERROR, description_of(error))
        self._span.end()


_current: ContextVar[Publish | None] = ContextVar("hopline_celery_publish", default=None)


class Publishing:
    """Tells of the messages that this process publishes.

    Args:
        tracer: makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def before(
        self,
        sender: str,
        body: Any,
        headers: MutableMapping[str, Any],
        routing_key: object = None,
        exchange: object = None,
        **_: Any,
    ) -> None:
        """A message is about to be published (Celery's signal ``before_task_publish``)."""
        parent = completed(otel_context.get_current())
        if is_suppressed(parent):
            return
        # Before protocol 2 a message had no header of its own: its id is in the body.
        task_id = headers.get("id") or (body.get("id") if isinstance(body, Mapping) else None)
        attributes = words.attributes(words.APPLY_ASYNC, sender, task_id, routing_key or exchange)
        span = self._tracer.start_span(
            words.span_name(words.APPLY_ASYNC, sender), parent, SpanKind.PRODUCER, attributes
        )
        context = set_span_in_context(span, parent)
        Publish(span, context)
        put_into(headers, context)
        span.set_attribute(REQUEST_ID, str(request_id_in(headers)))

    def after(self, **_: Any) -> None:
        """The message has been published (``after_task_publish``)."""
        publish = _current.get()
        if publish is not None:
            publish.end()

    def send(self, wrapped: Callable[..., Any], _app: object, args: Any, kwargs: Any) -> Any:
        """Around ``Celery.send_task``: no signal says that publishing has failed."""
        outer = _current.get()
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            publish = _current.get()
            if publish is not None and publish is not outer:
                guard(publish.end, error)
            raise
