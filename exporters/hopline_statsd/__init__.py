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
    from hopline_statsd.rules import MetricRule, Naming, Rule, RuleSet
    from hopline_statsd.rules_file import load_rules
    from hopline_statsd.stats import StatsdStats

__all__ = [
    "MetricRule",
    "Naming",
    "RecordingSampler",
    "Rule",
    "RuleSet",
    "StatsdClient",
    "StatsdConfig",
    "StatsdMetricExporter",
    "StatsdSpanExporter",
    "StatsdSpanProcessor",
    "StatsdStats",
    "load_rules",
]

_MODULES = {
    "MetricRule": "rules",
    "Naming": "rules",
    "RecordingSampler": "processor",
    "Rule": "rules",
    "RuleSet": "rules",
    "StatsdClient": "client",
    "StatsdConfig": "config",
    "StatsdMetricExporter": "metrics",
    "StatsdSpanExporter": "exporter",
    "StatsdSpanProcessor": "processor",
    "StatsdStats": "stats",
    "load_rules": "rules_file",
}

if not TYPE_CHECKING:  # to whom any name would seem to be there

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
