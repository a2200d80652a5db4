"""What instrumentation adds to one `Session.send`, beside opentelemetry-python-contrib's and a floor.

The floor is what the OpenTelemetry SDK costs for the same span and histogram, written by hand with ready-made
attributes.

    python benchmarks/requests_send.py [sampled|unsampled|loopback|api|statsd]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

# The same headers for everybody; request ids are a case of their own.
CASE = sys.argv[1] if len(sys.argv) > 1 else ""
os.environ["OTEL_PROPAGATORS"] = "tracecontext"
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

import sdk
from harness import Arm, Call, Measured, Row, added, median, report, show
from http_server import serving
from opentelemetry import propagate
from opentelemetry.instrumentation.requests import RequestsInstrumentor as ContribInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from processes import taking_turns
from sending import get, send, then
from statsd_sink import Sink

from hopline import Context
from hopline.processor import RequestIdSpanProcessor
from hopline.propagators import RequestIdPropagator
from hopline.requests import RequestsInstrumentor
from hopline_statsd.config import StatsdConfig
from hopline_statsd.processor import StatsdSpanProcessor


def instrumented(instrumentor: object, providers: dict[str, object], call: Call) -> Arm:
    return Arm(call, lambda: instrumentor.instrument(**providers), instrumentor.uninstrument)


def arms(providers: dict[str, object], make: Callable[[], Call] = send) -> dict[str, Arm]:
    by_hand = sdk.by_hand(providers)
    return {
        "floor": Arm(by_hand),
        "bare": Arm(make()),
        # What the same costs where it has to be done: among other code, which the processor's caches forget it for.
        "bare, then floor": Arm(then(make(), by_hand)),
        "contrib": instrumented(ContribInstrumentor(), providers, make()),
        "hopline": instrumented(RequestsInstrumentor(), providers, make()),
    }


def beside(case: str, measured: Measured, ours: float) -> Row:
    """What compares with the floor where it is made after each call."""
    return Row(case, "added ÷ what the floor adds after each call", ours / added(measured, "bare, then floor"), None)


def arms_with_sdk(*, is_sampled: bool) -> dict[str, Arm]:
    return arms(sdk.providers(sampled=is_sampled))


def sampled() -> list[Row]:
    measured = taking_turns(partial(arms_with_sdk, is_sampled=True))
    show("requests, sampled, with metrics", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, `Session.send`, sampled + metrics"
    return [
        Row(case, "added ÷ floor", ours / median(measured, "floor"), 1.25),
        beside(case, measured, ours),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.5),
    ]


def unsampled() -> list[Row]:
    measured = taking_turns(partial(arms_with_sdk, is_sampled=False))
    show("requests, not sampled, no metrics reader", measured)
    ours, theirs = added(measured, "hopline"), added(measured, "contrib")
    case = "requests, not sampled, no metrics reader"
    return [
        Row(case, "added ÷ unsampled floor", ours / median(measured, "floor"), 1.5),
        beside(case, measured, ours),
        Row(case, "added ÷ contrib's added", ours / theirs, 0.25),
    ]


def arms_over_a_socket(url: str) -> dict[str, Arm]:
    return arms(sdk.providers(), partial(get, url))


def loopback() -> list[Row]:
    """What the fast adapter of the other cases leaves out: connections, phases, bodies. It has no target."""
    with serving() as url:
        measured = taking_turns(partial(arms_over_a_socket, url), calls=100)
    show("requests, over a loopback socket, sampled, with metrics", measured)
    print(f"  hopline ÷ contrib's added: {added(measured, 'hopline') / added(measured, 'contrib'):.2f}")
    return []


def arms_without_sdk() -> dict[str, Arm]:
    return {name: arm for name, arm in arms({}).items() if "floor" not in name}


def api() -> list[Row]:
    measured = taking_turns(arms_without_sdk)
    show("requests, API only", measured)
    ratio = added(measured, "hopline") / added(measured, "contrib")
    return [Row("requests, API only (no SDK)", "added ÷ contrib's added", ratio, 0.2)]


def on_top(meters: MeterProvider, *processors: SpanProcessor, request_id: bool) -> Arm:
    """hopline with more processors and, when asked for, a request id that is current and propagated."""
    providers = {"tracer_provider": sdk.tracer_provider(*processors), "meter_provider": meters}
    trace_only = TraceContextTextMapPropagator()

    def on() -> None:
        if request_id:
            propagate.set_global_textmap(CompositePropagator([trace_only, RequestIdPropagator()]))
            Context.new("0123456789abcdef-order-17")
        RequestsInstrumentor().instrument(**providers)

    def off() -> None:
        RequestsInstrumentor().uninstrument()
        Context.clear()
        propagate.set_global_textmap(trace_only)

    return Arm(send(), on, off)


def arms_on_top(port: int) -> dict[str, Arm]:
    config = StatsdConfig(endpoint=f"udp://127.0.0.1:{port}", prefix="bench")
    meters, ids = sdk.meter_provider(), RequestIdSpanProcessor()
    return {
        "floor": Arm(sdk.by_hand({"tracer_provider": sdk.tracer_provider(), "meter_provider": meters})),
        "hopline": on_top(meters, request_id=False),
        "with request id": on_top(meters, ids, request_id=True),
        "with statsd": on_top(meters, StatsdSpanProcessor(config), request_id=False),
        "with request id and statsd": on_top(meters, ids, StatsdSpanProcessor(config), request_id=True),
    }


def statsd() -> list[Row]:
    with Sink() as sink:
        measured = taking_turns(partial(arms_on_top, sink.port))
    show("requests, with request id and statsd", measured, "hopline")
    extra = added(measured, "with request id and statsd", "hopline")
    return [Row("request id + statsd on top", "added ÷ floor", extra / median(measured, "floor"), 0.15)]


CASES = {"sampled": sampled, "unsampled": unsampled, "loopback": loopback, "api": api, "statsd": statsd}

if __name__ == "__main__":
    if CASE:
        report(CASES[CASE]())
    else:
        for name in CASES:
            subprocess.run([sys.executable, __file__, name], check=True)
