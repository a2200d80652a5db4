"""What instrumentation adds to one `Session.send`, beside opentelemetry-python-contrib's and a floor.

The floor is what the OpenTelemetry SDK costs for the same span and histogram, written by hand with ready-made
attributes. Each case runs in a process of its own, with all its arms by turns.

    python benchmarks/requests_send.py [sampled|unsampled|api|statsd]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

# The same headers for everybody; request ids are a case of their own.
CASE = sys.argv[1] if len(sys.argv) > 1 else ""
os.environ["OTEL_PROPAGATORS"] = "tracecontext"
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

import sdk
from harness import Arm, Row, added, interleaved, median, report, show
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor as ContribInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sending import URL, send
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
    "url.full": URL,
    "network.protocol.version": "1.1",
}
METRIC_ATTRIBUTES = {
    "http.request.method": "GET",
    "server.address": "example.com",
    "server.port": 80,
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
}


def floor(providers: dict[str, object], before: Callable[[], object] = lambda: None) -> Arm:
    tracer = trace.get_tracer("floor", tracer_provider=providers.get("tracer_provider"))
    histogram = metrics.get_meter("floor", meter_provider=providers.get("meter_provider")).create_histogram(
        "floor", explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    )
    propagator = TraceContextTextMapPropagator()

    def by_hand() -> None:
        before()
        span = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=SPAN_ATTRIBUTES)
        token = context.attach(set_span_in_context(span))
        propagator.inject({})
        span.set_attribute("http.response.status_code", 200)
        span.end()
        context.detach(token)
        histogram.record(0.01, METRIC_ATTRIBUTES)

    return Arm(by_hand)


def instrumented(instrumentor: object, providers: dict[str, object]) -> Arm:
    return Arm(send(), lambda: instrumentor.instrument(**providers), instrumentor.uninstrument)


def arms(providers: dict[str, object]) -> dict[str, Arm]:
    return {
        "floor": floor(providers),
        "bare": Arm(send()),
        # What the same costs where it has to be done: among other code, which the processor's caches forget it for.
        "bare, then floor": floor(providers, send()),
        "contrib": instrumented(ContribInstrumentor(), providers),
        "hopline": instrumented(RequestsInstrumentor(), providers),
    }


def sampled() -> list[Row]:
    measured = interleaved(arms(sdk.providers()))
    show("requests, sampled, with metrics", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, `Session.send`, sampled + metrics"
    return [
        Row(case, "added ÷ floor", ours / median(measured, "floor"), 1.25),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.5),
    ]


def unsampled() -> list[Row]:
    measured = interleaved(arms(sdk.providers(sampled=False)))
    show("requests, not sampled, no metrics reader", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, not sampled, no metrics reader"
    return [
        Row(case, "added ÷ unsampled floor", ours / median(measured, "floor"), 1.5),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.25),
    ]


def api() -> list[Row]:
    measured = interleaved({name: arm for name, arm in arms({}).items() if "floor" not in name})
    show("requests, API only", measured)
    ratio = added(measured, "hopline") / added(measured, "contrib")
    return [Row("requests, API only (no SDK)", "added ÷ contrib's added", ratio, 0.2)]


def statsd() -> list[Row]:
    with Sink() as sink:
        config = StatsdConfig(endpoint=f"udp://127.0.0.1:{sink.port}", prefix="bench")
        meters = sdk.meter_provider()
        without = {"tracer_provider": sdk.tracer_provider(), "meter_provider": meters}
        processors = (RequestIdSpanProcessor(), StatsdSpanProcessor(config))
        with_both = {"tracer_provider": sdk.tracer_provider(*processors), "meter_provider": meters}
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
