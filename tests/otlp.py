"""What a loopback server received as an OTLP/HTTP receiver."""

from __future__ import annotations

import gzip
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.loopback import LoopbackServer, Received


def spans_received(server: LoopbackServer) -> list[Any]:
    """The spans that were POSTed to `/v1/traces`, in that order."""
    requests = [ExportTraceServiceRequest.FromString(_body(each)) for each in _to(server, "/v1/traces")]
    scopes = [scope for request in requests for each in request.resource_spans for scope in each.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def logs_received(server: LoopbackServer) -> list[Any]:
    """The log records that were POSTed to `/v1/logs`, in that order."""
    requests = [ExportLogsServiceRequest.FromString(_body(each)) for each in _to(server, "/v1/logs")]
    scopes = [scope for request in requests for each in request.resource_logs for scope in each.scope_logs]
    return [record for scope in scopes for record in scope.log_records]


def attributes_of(message: Any) -> dict[str, Any]:
    """The attributes of a span or log record that are text or numbers."""
    kinds = {each.key: each.value.WhichOneof("value") for each in message.attributes}
    return {each.key: getattr(each.value, kinds[each.key]) for each in message.attributes if kinds[each.key]}


def _to(server: LoopbackServer, path: str) -> list[Received]:
    return [request for request in server.received if request.path == path]


def _body(request: Received) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("Content-Encoding") == "gzip" else request.body
