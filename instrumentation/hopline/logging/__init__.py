"""Logs that tell of their request: fields on every record, formatters, a structlog processor and logs to OTLP."""

from hopline.logging._emission import OtelHandler
from hopline.logging._formatters import JsonFormatter, LogfmtFormatter
from hopline.logging._instrumentor import LoggingInstrumentor
from hopline.logging._structlog import add_context

__all__ = ["JsonFormatter", "LogfmtFormatter", "LoggingInstrumentor", "OtelHandler", "add_context"]
