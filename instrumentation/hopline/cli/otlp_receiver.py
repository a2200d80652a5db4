"""A small OTLP/HTTP receiver on loopback that keeps the spans that it is sent."""

from __future__ import annotations

import gzip
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as it came over the wire.

    Attributes:
        service: the ``service.name`` of its resource.
        kind: ``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER`` or ``CONSUMER``.
        start: in nanoseconds since 1970.
        end: in nanoseconds since 1970.
        status: ``UNSET``, ``OK`` or ``ERROR``.
    """

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    status: str
    attributes: dict[str, Any]

    @property
    def milliseconds(self) -> float:
        """How long it lasted."""
        return (self.end - self.start) / 1e6


class OtlpReceiver:
    """The receiver; a context manager.

    Attributes:
        url: the value for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
    """

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """The spans so far."""
        with self._changed:
            return list(self._spans)

    def wait_for(self, spans: int, timeout: float = 10.0) -> bool:
        """Wait until that many spans have come in all.

        Args:
            spans: how many.
            timeout: seconds to wait at most.

        Returns:
            Whether they have.
        """
        with self._changed:
            return self._changed.wait_for(lambda: len(self._spans) >= spans, timeout)

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of one export."""
        spans = [
            _received(span, _attributes(resource_spans.resource.attributes))
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]
        with self._changed:
            self._spans += spans
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: OtlpReceiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A service that the demonstration ends may be gone before its answer is.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.receiver.take(ExportTraceServiceRequest.FromString(body))
        # The response message of each signal is empty when all was accepted.
        accepted = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(accepted)))
        self.end_headers()
        self.wfile.write(accepted)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own name
        pass


def _received(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        service=resource.get("service.name", ""),
        name=span.name,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=span.status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        attributes=_attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
