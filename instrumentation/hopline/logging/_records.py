"""The fields that every log record gets: the ids of the request and of the span, the service's name, the extras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import LogRecord
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, TracerProvider, get_current_span, get_tracer_provider

from hopline._extras import FIELDS
from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline._state import State, newest_state
from hopline.context import current

_REQUEST_ID, _TRACE_ID, _SPAN_ID, _SAMPLED, _SERVICE = FIELDS
_EXTRA = 8  # where `Logger.makeRecord` has its argument `extra`

LogHook = Callable[[Span, LogRecord], None]


def stamped(record: LogRecord) -> LogRecord:
    """``record``, which has the fields afterwards, whether or not logging is instrumented."""
    if _TRACE_ID not in record.__dict__:
        _stamp(record, _fields(""))
    return record


def _fields(service: str) -> dict[str, object]:
    state, span = current(), get_current_span().get_span_context()
    # Without a span as the instrumentor of opentelemetry-python-contrib has it.
    return {
        **({} if state is None else state.extras.values),
        _REQUEST_ID: None if state is None else state.request_id,
        _TRACE_ID: f"{span.trace_id:032x}" if span.is_valid else "0",
        _SPAN_ID: f"{span.span_id:016x}" if span.is_valid else "0",
        _SAMPLED: span.is_valid and span.trace_flags.sampled,
        _SERVICE: service,
    }


def _stamp(record: LogRecord, fields: Mapping[str, object]) -> None:
    own = record.__dict__
    for name, value in fields.items():
        # What a class of the application's has set holds.
        own.setdefault(name, value)


class Records:
    """Stamps every record, whatever makes it: a logger, a factory, a class of the application's, its own code.

    ``LogRecord.__init__``, which all of them call, does. ``Logger.makeRecord`` lets the ``extra=`` of a call have names
    that we use, which logging would refuse.

    Args:
        tracer_provider: knows the service's name (default: the global one).
        log_hook: called with the current span and each record that is made while a span is current.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, log_hook: LogHook | None = None) -> None:
        self._provider = tracer_provider
        self._log_hook = log_hook
        self._service = ""
        # The newest record's fields and what they were made of: the next record is likely to have the same.
        self._latest: tuple[Context | None, State | None, dict[str, object]] = (None, None, {})
        self._patches = Patches(
            Patch("logging", "LogRecord.__init__", self._init),
            Patch("logging", "Logger.makeRecord", self._make_record),
        )

    def instrument(self) -> None:
        """Stamp from now on."""
        self._patches.apply()

    def uninstrument(self) -> None:
        """Stamp no more."""
        self._patches.remove()

    def _init(self, wrapped: Callable[..., None], record: LogRecord, args: Any, kwargs: Any) -> None:
        wrapped(*args, **kwargs)
        self._stamp(record)

    def _stamp(self, record: LogRecord) -> None:
        context, state = get_current(), newest_state.get()
        known_context, known_state, fields = self._latest
        if context is not known_context or state is not known_state:
            fields = guard(_fields, self._service or self._named_service()) or {}
            # Not kept before the service's name is known, so that it is asked for again.
            self._latest = (context if self._service else None, state, fields)
        _stamp(record, fields)
        if self._log_hook is not None and fields.get(_TRACE_ID, "0") != "0":
            guard(self._log_hook, get_current_span(), record)

    def _named_service(self) -> str:
        # Asked again until there is an answer: the provider may be set after the first record is made.
        resource = getattr(self._provider or get_tracer_provider(), "resource", None)
        if resource is not None:
            self._service = str(resource.attributes.get("service.name", ""))
        return self._service

    def _make_record(self, wrapped: Callable[..., LogRecord], logger: Any, args: Any, kwargs: Any) -> LogRecord:
        extra = args[_EXTRA] if len(args) > _EXTRA else kwargs.get("extra")
        ours = _clashing(extra) if extra and isinstance(extra, Mapping) else None
        return wrapped(*args, **kwargs) if ours is None else _make_with(ours, wrapped, extra, args, kwargs)


def _clashing(extra: Mapping[str, object]) -> dict[str, object] | None:
    state = current()
    pushed: Mapping[str, object] = {} if state is None else state.extras.values
    ours = {name: value for name, value in extra.items() if name in FIELDS or name in pushed}
    return ours or None


def _make_with(
    ours: Mapping[str, object],
    wrapped: Callable[..., LogRecord],
    extra: Mapping[str, object],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> LogRecord:
    rest = {name: value for name, value in extra.items() if name not in ours}
    if len(args) > _EXTRA:
        args = (*args[:_EXTRA], rest, *args[_EXTRA + 1 :])
    else:
        kwargs = {**kwargs, "extra": rest}
    record = wrapped(*args, **kwargs)
    # What the call says holds: it is nearer than what was pushed.
    record.__dict__.update(ours)
    return record
