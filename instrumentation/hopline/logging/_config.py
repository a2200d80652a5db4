"""What the environment and the keyword arguments of ``instrument()`` say, read once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from os import environ
from typing import Any

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER

from hopline._settings import boolean, comma_separated, read

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


@dataclass(frozen=True, slots=True)
class LoggingConfig:
    """How logging is instrumented.

    Attributes:
        sets_format: whether ``logging.basicConfig`` is called.
        format: the format that it is called with.
        level: the level that it is called with, a number or a name.
        emits: whether records are emitted.
        emit_level: the lowest level that is, a number or a name.
        emit_code: whether they are emitted with the file, function and line.
    """

    sets_format: bool
    format: str
    level: int | str
    emits: bool
    emit_level: int | str
    emit_code: bool

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> LoggingConfig:
        """Read the configuration.

        Args:
            arguments: the keyword arguments of ``instrument()``; they win over the environment.
        """
        return cls(
            sets_format=_switch("set_logging_format", arguments, _CORRELATION, default=False),
            format=arguments.get("logging_format") or read(_FORMAT, _format, DEFAULT_FORMAT),
            level=arguments.get("log_level") or read(_LEVEL, _level, "INFO"),
            emits=_emits(arguments),
            emit_level=arguments.get("log_handler_level") or read(_EMIT_LEVEL, _level, "NOTSET"),
            emit_code=_switch("log_code_attributes", arguments, _EMIT_CODE, default=False),
        )


def _emits(arguments: Mapping[str, Any]) -> bool:
    if not _switch("enable_log_auto_instrumentation", arguments, _EMIT, default=True):
        return False
    if arguments.get("logger_provider") is not None:
        return True
    # The SDK's own handler, which that variable turns on, would emit each record a second time.
    exporters = comma_separated(environ.get(OTEL_LOGS_EXPORTER, ""))
    return exporters not in ((), ("none",)) and environ.get(_SDK_EMITS, "").strip().lower() != "true"


def _switch(name: str, arguments: Mapping[str, Any], variable: str, *, default: bool) -> bool:
    argument = arguments.get(name)
    return read(variable, boolean, default) if argument is None else bool(argument)


def _format(text: str) -> str:
    logging.Formatter(text)  # which raises where it names no field
    return text


def _level(text: str) -> str:
    if not isinstance(logging.getLevelName(text.upper()), int):
        raise ValueError("expected the name of a level")
    return text.upper()
