"""The instrumentor of the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from hopline.logging._config import LoggingConfig
from hopline.logging._emission import Emission, OtelHandler
from hopline.logging._records import Records


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
        config = LoggingConfig.of(kwargs)
        self._records = Records(kwargs.get("tracer_provider"), kwargs.get("log_hook"))
        self._records.instrument()
        if config.sets_format:
            logging.basicConfig(format=config.format, level=config.level)
        if config.emits:
            provider = kwargs.get("logger_provider")
            handler = OtelHandler(config.emit_level, logger_provider=provider, code_attributes=config.emit_code)
            self._emission = Emission(handler)
            self._emission.instrument()

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._records is not None:
            self._records.uninstrument()
        if self._emission is not None:
            self._emission.uninstrument()
        self._records = self._emission = None
