"""hopline_statsd turns OpenTelemetry spans and metrics into statsd lines, whoever made them."""

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
