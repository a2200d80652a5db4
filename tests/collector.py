"""What programs export over OTLP/HTTP: a receiver on loopback that keeps it, or what any loopback server was sent."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.loopback import LoopbackServer

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


@dataclass(frozen=True)
class Exported:
    """One span as it came over the wire."""

    service: str
    scope: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    is_error: bool
    seconds: float
    attributes: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name)


@dataclass(frozen=True)
class Logged:
    """One log record as it came over the wire."""

    body: str
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


def spans_received(server: LoopbackServer) -> list[Exported]:
    """The spans that a server was sent, in that order."""
    requests = [ExportTraceServiceRequest.FromString(body) for body in _bodies(server, "/v1/traces")]
    return [span for request in requests for span in _spans(request)]


def logs_received(server: LoopbackServer) -> list[Logged]:
    """The log records that a server was sent, in that order."""
    requests = [ExportLogsServiceRequest.FromString(body) for body in _bodies(server, "/v1/logs")]
    return [record for request in requests for record in _logs(request)]


def _bodies(server: LoopbackServer, path: str) -> list[bytes]:
    return [
        gzip.decompress(each.body) if each.headers.get("Content-Encoding") == "gzip" else each.body
        for each in list(server.received)
        if each.path == path
    ]


class Collector:
    """The receiver; a context manager.

    Attributes:
        endpoint: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    def __init__(self) -> None:
        self._server = LoopbackServer()
        self.endpoint = self._server.url

    def __enter__(self) -> Collector:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def spans(self) -> list[Exported]:
        """The spans that came, in that order."""
        return spans_received(self._server)

    @property
    def metrics(self) -> dict[tuple[str, str], float]:
        """By scope and name, the numbers of data points' last values, counts for histograms."""
        bodies = _bodies(self._server, "/v1/metrics")
        return {key: value for body in bodies for key, value in _metrics(ExportMetricsServiceRequest.FromString(body))}

    def wait_for(self, count: int, wanted: Callable[[Exported], bool] = lambda span: True) -> list[Exported]:
        """Wait until `count` spans have come that are `wanted`; gives them, in the order of their names."""

        def found() -> list[Exported]:
            return [span for span in self.spans if wanted(span)]

        self._wait_until(lambda: len(found()) >= count)
        assert len(found()) == count, found()
        return sorted(found(), key=lambda span: span.name)

    def wait_for_metric(self, scope: str, name: str, value: float) -> None:
        """Wait until a metric has come that has `value`."""
        self._wait_until(lambda: self.metrics.get((scope, name)) == value)

    def _wait_until(self, has_come: Callable[[], bool]) -> None:
        assert self._server.wait_until(has_come), f"this is all that came: {self.spans} {self.metrics}"


def _spans(request: ExportTraceServiceRequest) -> list[Exported]:
    return [
        Exported(
            service=_attributes(resource.resource).get("service.name", ""),
            scope=scope.scope.name,
            name=span.name,
            kind=_KINDS[span.kind],
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            is_error=span.status.code == 2,
            seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            attributes=_attributes(span),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _logs(request: ExportLogsServiceRequest) -> list[Logged]:
    return [
        Logged(
            body=record.body.string_value,
            trace_id=record.trace_id.hex(),
            span_id=record.span_id.hex(),
            attributes=_attributes(record),
        )
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _metrics(request: ExportMetricsServiceRequest) -> list[tuple[tuple[str, str], float]]:
    return [
        (
            (scope.scope.name, metric.name),
            sum(
                [point.count for point in metric.histogram.data_points]
                + [point.as_int or point.as_double for point in metric.sum.data_points]
            ),
        )
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def _attributes(carrier: Any) -> dict[str, Any]:
    kinds = {each.key: each.value.WhichOneof("value") for each in carrier.attributes}
    return {each.key: getattr(each.value, kinds[each.key]) for each in carrier.attributes if kinds[each.key]}
