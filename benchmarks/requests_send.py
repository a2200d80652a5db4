"""What instrumentation adds to one `Session.send`, beside opentelemetry-python-contrib's and a floor.

The floor is what the OpenTelemetry SDK costs for the same span and histogram, written by hand with ready-made
attributes. The adapter answers at once, so that nothing but requests and its instrumentation is measured. Each case
runs in a process of its own, with all its arms by turns.

    python benchmarks/requests_send.py [sampled|unsampled|api|statsd]
"""

from __future__ import annotations

import os
import subprocess
import sys

# The same headers for everybody; request ids are a case of their own.
CASE = sys.argv[1] if len(sys.argv) > 1 else ""
os.environ["OTEL_PROPAGATORS"] = "tracecontext"
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

import requests
from harness import Arm, Row, added, interleaved, median, report, show
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor as ContribInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests.adapters import BaseAdapter
from statsd_sink import Sink

from hopline import Context
from hopline.processor import RequestIdSpanProcessor
from hopline.propagators import RequestIdPropagator
from hopline.requests import RequestsInstrumentor
from hopline_statsd.config import StatsdConfig
from hopline_statsd.processor import StatsdSpanProcessor

SPAN_ATTRIBUTES = {
    "http.request.method": "GET",
    "server.address": "example.com",
    "server.port": 80,
    "url.full": "http://example.com/users/17",
    "network.protocol.version": "1.1",
}
METRIC_ATTRIBUTES = {
    "http.request.method": "GET",
    "server.address": "example.com",
    "server.port": 80,
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
}


class Discarding(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Raw:
    """As much of urllib3's response as requests reads of one that is consumed."""

    version = 11
    headers: dict[str, str] = {}

    def read(self, *args: object, **kwargs: object) -> bytes:
        return b""

    def close(self) -> None:
        pass


class Answering(BaseAdapter):
    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.request, response.url, response.raw = request, request.url, Raw()
        return response

    def close(self) -> None:
        pass


def tracer_provider(*processors: object, sampled: bool = True) -> TracerProvider:
    provider = TracerProvider(sampler=None if sampled else ALWAYS_OFF)
    for processor in (*processors, BatchSpanProcessor(Discarding(), max_queue_size=1 << 18)):
        provider.add_span_processor(processor)
    return provider


def meter_provider(sampled: bool) -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()] if sampled else [])


def floor(providers: dict[str, object]) -> Arm:
    tracer = trace.get_tracer("floor", tracer_provider=providers.get("tracer_provider"))
    histogram = metrics.get_meter("floor", meter_provider=providers.get("meter_provider")).create_histogram(
        "floor", explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    )
    propagator = TraceContextTextMapPropagator()

    def by_hand() -> None:
        span = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=SPAN_ATTRIBUTES)
        token = context.attach(set_span_in_context(span))
        propagator.inject({})
        span.set_attribute("http.response.status_code", 200)
        span.end()
        context.detach(token)
        histogram.record(0.01, METRIC_ATTRIBUTES)

    return Arm(by_hand)


def send() -> object:
    """A call that sends a fresh request."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", Answering())
    prepared = session.prepare_request(requests.Request("GET", SPAN_ATTRIBUTES["url.full"]))
    return lambda: session.send(prepared.copy())


def instrumented(instrumentor: object, providers: dict[str, object]) -> Arm:
    return Arm(send(), lambda: instrumentor.instrument(**providers), instrumentor.uninstrument)


def arms(providers: dict[str, object]) -> dict[str, Arm]:
    return {
        "floor": floor(providers),
        "bare": Arm(send()),
        "contrib": instrumented(ContribInstrumentor(), providers),
        "hopline": instrumented(RequestsInstrumentor(), providers),
    }


def sampled() -> list[Row]:
    providers = {"tracer_provider": tracer_provider(), "meter_provider": meter_provider(sampled=True)}
    measured = interleaved(arms(providers))
    show("requests, sampled, with metrics", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, `Session.send`, sampled + metrics"
    return [
        Row(case, "added ÷ floor", ours / median(measured, "floor"), 1.25),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.5),
    ]


def unsampled() -> list[Row]:
    providers = {
        "tracer_provider": tracer_provider(sampled=False),
        "meter_provider": meter_provider(sampled=False),
    }
    measured = interleaved(arms(providers))
    show("requests, not sampled, no metrics reader", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, not sampled, no metrics reader"
    return [
        Row(case, "added ÷ unsampled floor", ours / median(measured, "floor"), 1.5),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.25),
    ]


def api() -> list[Row]:
    measured = interleaved({name: arm for name, arm in arms({}).items() if name != "floor"})
    show("requests, API only", measured)
    ratio = added(measured, "hopline") / added(measured, "contrib")
    return [Row("requests, API only (no SDK)", "added ÷ contrib's added", ratio, 0.2)]


def statsd() -> list[Row]:
    with Sink() as sink:
        config = StatsdConfig(endpoint=f"udp://127.0.0.1:{sink.port}", prefix="bench")
        meters = meter_provider(sampled=True)
        without = {"tracer_provider": tracer_provider(), "meter_provider": meters}
        processors = (RequestIdSpanProcessor(), StatsdSpanProcessor(config))
        with_both = {"tracer_provider": tracer_provider(*processors), "meter_provider": meters}
        trace_only = TraceContextTextMapPropagator()
        with_id = CompositePropagator([trace_only, RequestIdPropagator()])

        def on() -> None:
            propagate.set_global_textmap(with_id)
            Context.new("0123456789abcdef-order-17")
            RequestsInstrumentor().instrument(**with_both)

        def off() -> None:
            RequestsInstrumentor().uninstrument()
            Context.clear()
            propagate.set_global_textmap(trace_only)

        measured = interleaved(
            {
                "floor": floor(without),
                "hopline": instrumented(RequestsInstrumentor(), without),
                "with request id and statsd": Arm(send(), on, off),
            }
        )
    show("requests, with request id and statsd", measured, "hopline")
    extra = added(measured, "with request id and statsd", "hopline")
    return [Row("request id + statsd on top", "added ÷ floor", extra / median(measured, "floor"), 0.15)]


CASES = {"sampled": sampled, "unsampled": unsampled, "api": api, "statsd": statsd}

if __name__ == "__main__":
    if CASE:
        report(CASES[CASE]())
    else:
        for name in CASES:
            subprocess.run([sys.executable, __file__, name], check=True)
