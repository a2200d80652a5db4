"""The metrics exporter `statsd`: OpenTelemetry metrics as counters, gauges and distributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint as ExponentialPoint

from hopline_statsd.buckets import rate_of, representatives
from hopline_statsd.budget import NameBudget
from hopline_statsd.config import StatsdConfig
from hopline_statsd.exits import EXIT_TIMEOUT, close_with
from hopline_statsd.fields import ATTRIBUTE, Field, Scope
from hopline_statsd.guard import Guard
from hopline_statsd.lines import dotted, gauge, number
from hopline_statsd.namer import LineType, Name, Namer
from hopline_statsd.sender import Sender
from hopline_statsd.stats import INVALID, StatsdStats
from hopline_statsd.telemetry import observe
from hopline_statsd.templates import Template
from hopline_statsd.values import finite

_DELTA, _CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE

_TEMPORALITY: dict[type, AggregationTemporality] = {
    Counter: _DELTA,
    ObservableCounter: _DELTA,
    Histogram: _DELTA,
    UpDownCounter: _CUMULATIVE,
    ObservableUpDownCounter: _CUMULATIVE,
    ObservableGauge: _CUMULATIVE,
}

_AnyHistogramPoint = HistogramDataPoint | ExponentialPoint


class StatsdMetricExporter(MetricExporter):
    """Sends metrics: counters as `c`, up-down counters and gauges as `g`, histograms as several lines.

    A histogram makes `.count` and `.sum` (`c`), `.min` and `.max` (`g`), and in a dialect with
    distributions one `d` line for each bucket: a value from its middle, with a sample rate that says how
    many values it stands for.

    Args:
        config: The settings; those of the environment by default.
        meter_provider: Where the exporter's own counts go; the global one by default.
    """

    def __init__(self, config: StatsdConfig | None = None, meter_provider: MeterProvider | None = None) -> None:
        super().__init__(preferred_temporality=dict(_TEMPORALITY))
        self.config = StatsdConfig.from_environment() if config is None else config
        self._sender = Sender(self.config)
        self._budget = NameBudget(self.config.max_names)
        self._guard = Guard("a metric makes no statsd line", self._sender.tally)
        self._finalizer = close_with(self, self._sender.close)
        observe("hopline_statsd.metrics", self._sender.stats, meter_provider)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Send the lines of what was collected.

        Args:
            metrics_data: The metrics.
            timeout_millis: How long to wait for the server at most, in milliseconds.
            kwargs: Not used.

        Returns:
            `FAILURE` where the server does not take the lines now; they wait for it.
        """
        for resource_metrics in metrics_data.resource_metrics:
            writer = _Writer(self.config, resource_metrics, self._budget, self._sender)
            for metric in _metrics_of(resource_metrics):
                self._write(writer, metric)
            writer.write_extremes()
        done = self._sender.flush(timeout_millis / 1000)
        return MetricExportResult.SUCCESS if done else MetricExportResult.FAILURE

    def _write(self, writer: _Writer, metric: Metric) -> None:
        try:
            writer.write(metric)
        except Exception as error:  # noqa: BLE001  one metric must not cost the others
            self._guard.caught(error)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send the lines that are there.

        Args:
            timeout_millis: How long to wait at most, in milliseconds.

        Returns:
            Whether all of them were handed to the system.
        """
        return self._sender.flush(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Send the lines that are there and close the socket; once is enough."""
        self._finalizer.detach()
        self._sender.close(min(timeout_millis / 1000, EXIT_TIMEOUT))

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        return self._sender.stats()


def _metrics_of(resource_metrics: ResourceMetrics) -> Iterator[Metric]:
    for scope_metrics in resource_metrics.scope_metrics:
        yield from scope_metrics.metrics


class _Writer:
    """Writes the metrics of one resource, collected at one time."""

    def __init__(self, config: StatsdConfig, of: ResourceMetrics, budget: NameBudget, sender: Sender) -> None:
        self._resource = of.resource.attributes
        self._namer = Namer(config, self._resource, budget)
        self._rules = [(rule, self._namer.parse(rule.id, rule.naming)) for rule in config.rules.metrics]
        self._sender = sender
        self._extremes: dict[bytes, tuple[Callable[[float, float], float], float]] = {}

    def write(self, metric: Metric) -> None:
        data = metric.data
        temporality = getattr(data, "aggregation_temporality", _CUMULATIVE)
        is_gauge = temporality is not _DELTA or not isinstance(data, Sum)
        for point in data.data_points:
            name, scope, scale = self._named(metric.name, point.attributes or {})
            if isinstance(point, NumberDataPoint):
                self._number("g" if is_gauge else "c", name, scope, point.value, scale)
            else:
                self._histogram(point, "c" if temporality is _DELTA else "g", name, scope, scale)

    def write_extremes(self) -> None:
        """Write the least and the greatest values: of several points that have one name, the very least."""
        for line_format, (_, value) in self._extremes.items():
            self._sender.put(b"%s", gauge(line_format, value))

    def _named(self, metric: str, attributes: Mapping[str, Any]) -> tuple[Name, Scope, float]:
        scope = Scope(attributes, self._resource)
        for rule, name in self._rules:
            if rule.holds(metric, scope):
                return name, scope, rule.scale
        return self._own_name(metric, sorted(attributes)), scope, 1.0

    def _own_name(self, metric: str, keys: list[str]) -> Name:
        fields = {key: Field((f"{ATTRIBUTE}{key}",)) for key in keys}
        dialect = self._namer.dialect
        if dialect.has_tags:
            tags = {dialect.tag_key(key): Template((field,)) for key, field in fields.items()}
            return Name(metric, Template((dotted(metric),)), tags)
        segments = [part for field in fields.values() for part in (".", field)]
        return Name(metric, Template((dotted(metric), *segments)), {})

    def _number(self, type_: str, name: Name, scope: Scope, value: object, scale: float, suffix: str = "") -> None:
        checked = finite(value, scale)
        if checked is None:
            self._sender.tally.dropped(INVALID)
            return
        line_format = self._namer.line_format(name, scope, LineType(type_), suffix)
        if type_ == "g":
            self._sender.put(b"%s", gauge(line_format, checked))
        else:
            self._sender.put(line_format, number(checked))

    def _histogram(self, point: _AnyHistogramPoint, type_: str, name: Name, scope: Scope, scale: float) -> None:
        if not point.count:
            return
        self._number(type_, name, scope, point.count, 1.0, ".count")
        self._number(type_, name, scope, point.sum, scale, ".sum")
        self._extreme(name, scope, ".min", min, finite(point.min, scale))
        self._extreme(name, scope, ".max", max, finite(point.max, scale))
        if self._namer.dialect.has_distributions and type_ == "c":
            for value, count in representatives(point):
                line_type = LineType("d", "%s", rate_of(count))
                self._sender.put(self._namer.line_format(name, scope, line_type), number(value * scale))

    def _extreme(
        self,
        name: Name,
        scope: Scope,
        suffix: str,
        choose: Callable[[float, float], float],
        value: float | None,
    ) -> None:
        if value is None:  # not recorded
            return
        line_format = self._namer.line_format(name, scope, LineType("g"), suffix)
        _, before = self._extremes.get(line_format, (choose, value))
        self._extremes[line_format] = (choose, choose(before, value))
