"""Log records to OpenTelemetry, whose logger provider sends them on, for instance over OTLP."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from logging import NOTSET, Handler, LogRecord
from time import time_ns
from traceback import format_exception
from typing import Any

from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger
from opentelemetry._logs import LogRecord as OtelLogRecord
from opentelemetry.context import Context, get_current
from opentelemetry.semconv.attributes.code_attributes import CODE_FILE_PATH, CODE_FUNCTION_NAME, CODE_LINE_NUMBER
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from hopline._errors import error_type_of
from hopline._extras import FIELDS, STANDARD
from hopline._guard import guard
from hopline._patch import Patch
from hopline._suppression import is_suppressed
from hopline.logging._records import stamped
from hopline.logging._values import plain, text, to_json, well_formed
from hopline.request_id import REQUEST_ID

# In OTLP the trace's ids have fields of their own, and the service is the resource's.
_ELSEWHERE = STANDARD.union(FIELDS)
_SEVERITY_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_PRIMITIVES = (bool, int, float, str)
_, _TRACE_ID, _SPAN_ID, _SAMPLED, _ = FIELDS
_NO_SPAN = set_span_in_context(INVALID_SPAN, Context())  # not an empty one, for which the SDK takes the current one

# Whether a record is being emitted here: what OpenTelemetry logs meanwhile is not emitted in its turn.
_emitting: ContextVar[bool] = ContextVar("hopline_emitting", default=False)


class OtelHandler(Handler):
    """A logging handler that emits records to OpenTelemetry.

    :class:`LoggingInstrumentor` uses it by itself; it can also be named in an application's own configuration.

    Args:
        level: the lowest level to emit, a number or a name.
        logger_provider: where to (default: the global one).
        code_attributes: whether to tell the file, function and line.
    """

    def __init__(
        self,
        level: int | str = NOTSET,
        *,
        logger_provider: LoggerProvider | None = None,
        code_attributes: bool = False,
    ) -> None:
        super().__init__(level)
        self._provider = logger_provider
        self._code_attributes = code_attributes

    def emit(self, record: LogRecord) -> None:
        """Emit one record: its extras become attributes, its request id ``hopline.request_id``."""
        if _emitting.get() or is_suppressed(get_current()):
            return
        token = _emitting.set(True)
        try:
            guard(self._emit, stamped(record))
        finally:
            _emitting.reset(token)

    def _emit(self, record: LogRecord) -> None:
        get_logger(record.name, logger_provider=self._provider).emit(
            OtelLogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time_ns(),
                context=_context_of(record),
                severity_text=_SEVERITY_TEXTS.get(record.levelname, record.levelname),
                severity_number=_severity(record.levelno),
                body=_body(record),
                attributes=self._attributes(record),
            )
        )

    def _attributes(self, record: LogRecord) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for name, value in record.__dict__.items():
            if name in _ELSEWHERE or value is None:
                continue
            key = text(name)
            # Names with an underscore are private to who put them there, structlog for instance.
            if not key.startswith("_"):
                attributes[key] = _attribute(value)
        request_id = record.__dict__.get("request_id")
        if request_id is not None:
            attributes[REQUEST_ID] = _attribute(request_id)
        if self._code_attributes:
            attributes[CODE_FILE_PATH] = well_formed(record.pathname)
            attributes[CODE_FUNCTION_NAME] = record.funcName
            attributes[CODE_LINE_NUMBER] = record.lineno
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            attributes["exception.type"] = error_type_of(error)
            attributes["exception.message"] = text(error)
            attributes["exception.stacktrace"] = well_formed("".join(format_exception(*record.exc_info)))
        return attributes


class Emission:
    """Emits what every logger lets pass, without a handler of its own on any of them.

    A handler on the root logger would make the application's ``basicConfig()`` do nothing, and go when its
    ``dictConfig()`` removes the handlers that it does not know.
    """

    def __init__(self, handler: OtelHandler) -> None:
        self._handler = handler
        self._patch = Patch("logging", "Logger.callHandlers", self._call_handlers)

    def instrument(self) -> None:
        """Emit from now on."""
        self._patch.apply()

    def uninstrument(self) -> None:
        """Emit no more."""
        self._patch.remove()

    def _call_handlers(self, wrapped: Callable[..., None], logger: Any, args: Any, kwargs: Any) -> None:
        record = args[0] if args else kwargs.get("record")
        if isinstance(record, LogRecord) and record.levelno >= self._handler.level:
            # Not `handle`, which would make the loggers of all threads wait for each other.
            self._handler.emit(record)
        wrapped(*args, **kwargs)


def _context_of(record: LogRecord) -> Context:
    """The context to emit ``record`` in: that of the span it was made in, which need not be current behind a queue."""
    context, fields = get_current(), record.__dict__
    try:
        span_id = int(fields[_SPAN_ID], 16)
        if span_id == get_current_span(context).get_span_context().span_id:
            return context
        if span_id == 0:
            return _NO_SPAN
        flags = TraceFlags(bool(fields.get(_SAMPLED)))
        made_in = SpanContext(int(fields[_TRACE_ID], 16), span_id, is_remote=False, trace_flags=flags)
    except (KeyError, TypeError, ValueError):
        return context  # the application's own, whatever it means by them
    return set_span_in_context(NonRecordingSpan(made_in), Context()) if made_in.is_valid else context


def _severity(level: int) -> SeverityNumber:
    if level < 10:
        return SeverityNumber.UNSPECIFIED
    # Four numbers for each ten levels: 10 is DEBUG, 11 DEBUG2; 20 is INFO; up to 24, FATAL4.
    return SeverityNumber(min(level // 10 * 4 + 1 + min(level % 10, 3), 24))


def _body(record: LogRecord) -> Any:
    if issubclass(type(record.msg), dict) and not record.args:
        return plain(record.msg)
    message = guard(record.getMessage)
    # Its arguments do not fit it: the application's handlers will say so.
    return text(record.msg) if message is None else well_formed(message)


def _attribute(value: object) -> Any:
    """``value``, or its JSON where it is not a primitive or a list of one kind of them."""
    made = plain(value)
    if isinstance(made, list):
        kinds = {type(each) for each in made}
        return made if len(kinds) <= 1 and kinds.issubset(_PRIMITIVES) else to_json(made)
    return to_json(made) if isinstance(made, dict) else made
