"""The instrumentor of the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from os import environ
from typing import Any

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline import _settings
from hopline.logging._emission import Emission, OtelHandler
from hopline.logging._records import Records

# The variables of opentelemetry-instrumentation-logging, which is not required.
_CORRELATION = "OTEL_PYTHON_LOG_CORRELATION"
_FORMAT = "OTEL_PYTHON_LOG_FORMAT"
_LEVEL = "OTEL_PYTHON_LOG_LEVEL"
_EMIT = "OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION"
_EMIT_LEVEL = "OTEL_PYTHON_LOG_HANDLER_LEVEL"
_EMIT_CODE = "OTEL_PYTHON_LOG_CODE_ATTRIBUTES"
_SDK_EMITS = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"

DEFAULT_FORMAT = (
    "%(asctime)s %(levelname)s [%(name)s] [%(filename)s:%(lineno)d] [request_id=%(request_id)s "
    "trace_id=%(otelTraceID)s span_id=%(otelSpanID)s resource.service.name=%(otelServiceName)s "
    "trace_sampled=%(otelTraceSampled)s] - %(message)s"
)


class LoggingInstrumentor(BaseInstrumentor):
    """Gives every log record the ids of its request and span, the service's name and the extras.

    ``request_id`` (None outside of requests), ``otelTraceID`` and ``otelSpanID`` (``"0"`` without a span),
    ``otelTraceSampled``, ``otelServiceName`` and what is pushed with ``Context.logging`` are attributes of each
    record, so a format string may name them. With a logs exporter, the records are also emitted to it. The
    application's handlers, levels and formats stay as they are. Takes the keyword arguments of the instrumentor of
    opentelemetry-python-contrib.

    Example:
        >>> from hopline.logging import LoggingInstrumentor
        >>> LoggingInstrumentor().instrument()
        >>> LoggingInstrumentor().uninstrument()
    """

    _records: Records | None = None
    _emission: Emission | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: nothing."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        """Instrument logging.

        Args:
            **kwargs: ``tracer_provider``, which knows the service's name (default: the global one);
                ``log_hook(span, record)``, called for each record that is made while a span is current;
                ``logger_provider``, where records are emitted to (default: the global one, if
                ``OTEL_LOGS_EXPORTER`` names an exporter);
                ``set_logging_format`` (default: as ``OTEL_PYTHON_LOG_CORRELATION`` says), to call
                ``logging.basicConfig`` with ``logging_format`` and ``log_level``;
                ``enable_log_auto_instrumentation``, ``log_handler_level`` and ``log_code_attributes``: whether
                records are emitted, from which level on, and whether with the file, function and line.
        """
        self._records = Records(kwargs.get("tracer_provider"), kwargs.get("log_hook"))
        self._records.instrument()
        if _chosen(kwargs, "set_logging_format", _CORRELATION, default=False):
            layout = kwargs.get("logging_format") or environ.get(_FORMAT) or DEFAULT_FORMAT
            level = kwargs.get("log_level") or _settings.read(_LEVEL, _level, logging.INFO)
            logging.basicConfig(format=layout, level=level)
        if _emits(kwargs):
            level = kwargs.get("log_handler_level") or _settings.read(_EMIT_LEVEL, _level, logging.NOTSET)
            code = _chosen(kwargs, "log_code_attributes", _EMIT_CODE, default=False)
            handler = OtelHandler(level, logger_provider=kwargs.get("logger_provider"), code_attributes=code)
            self._emission = Emission(handler)
            self._emission.instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._records is not None:
            self._records.uninstrument()
        if self._emission is not None:
            self._emission.uninstrument()
        self._records = self._emission = None


def _emits(kwargs: Mapping[str, Any]) -> bool:
    if not _chosen(kwargs, "enable_log_auto_instrumentation", _EMIT, default=True):
        return False
    if kwargs.get("logger_provider") is not None:
        return True
    # The SDK's own handler, which that variable turns on, would emit each record a second time.
    exporters = _settings.comma_separated(environ.get(OTEL_LOGS_EXPORTER, ""))
    return exporters not in ((), ("none",)) and environ.get(_SDK_EMITS, "").strip().lower() != "true"


def _chosen(kwargs: Mapping[str, Any], argument: str, variable: str, *, default: bool) -> bool:
    value = kwargs.get(argument)
    return _settings.read(variable, _settings.boolean, default) if value is None else bool(value)


def _level(text: str) -> int:
    level = logging.getLevelName(text.upper())
    if not isinstance(level, int):
        raise ValueError("expected the name of a level")
    return level
