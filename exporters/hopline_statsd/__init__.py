"""hopline_statsd turns OpenTelemetry spans and metrics into statsd lines, whoever made them.

Importing it imports no SDK: each name's module is imported when the name is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hopline_statsd.client import StatsdClient
    from hopline_statsd.config import StatsdConfig
    from hopline_statsd.exporter import StatsdSpanExporter
    from hopline_statsd.metrics import StatsdMetricExporter
    from hopline_statsd.processor import RecordingSampler, StatsdSpanProcessor
    from hopline_statsd.stats import StatsdStats

__all__ = [
    "RecordingSampler",
    "StatsdClient",
    "StatsdConfig",
    "StatsdMetricExporter",
    "StatsdSpanExporter",
    "StatsdSpanProcessor",
    "StatsdStats",
]

_MODULES = {
    "RecordingSampler": "processor",
    "StatsdClient": "client",
    "StatsdConfig": "config",
    "StatsdMetricExporter": "metrics",
    "StatsdSpanExporter": "exporter",
    "StatsdSpanProcessor": "processor",
    "StatsdStats": "stats",
}

if not TYPE_CHECKING:  # to whom any name would seem to be there

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
