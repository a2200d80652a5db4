"""What instrumentation adds to one aiohttp request on loopback, in CPU time: hopline beside contrib's instrumentor.

All in one run, round by round, a few rounds in each of a few processes: bare aiohttp, a trace config whose sixteen
receivers do nothing, a floor (the same with what the SDK costs for one span and one histogram, written by hand with
ready-made attributes), contrib, hopline (all sixteen signals on), and hopline uninstrumented. Spans are sampled and go
through a BatchSpanProcessor to an exporter that does nothing; metrics have a reader. The server is a process of its
own, so its CPU time does not count.

    python benchmarks/aiohttp_client.py [--rounds 15] [--requests 1500] [--body 128]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time
from typing import Any

# The same conventions and the same headers for everybody.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
os.environ["OTEL_PROPAGATORS"] = "tracecontext"

import aiohttp
import sdk
from harness import Measured, Row, added, in_new_processes, in_rounds, report, show
from http_server import serving
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor as ContribInstrumentor
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline.aiohttp_client import AioHttpClientInstrumentor


async def measure(url: str, requests: int, config: aiohttp.TraceConfig | None = None) -> float:
    """CPU microseconds of one request, on a connection that is kept alive."""
    async with aiohttp.ClientSession(trace_configs=[config] if config else None) as session:

        async def fetch() -> None:
            async with session.get(url) as response:
                await response.read()

        for _ in range(20):
            await fetch()
        gc.collect()
        gc.disable()
        try:
            before = process_time()
            for _ in range(requests):
                await fetch()
            return (process_time() - before) / requests * 1e6
        finally:
            gc.enable()


def doing_nothing(*but: str) -> aiohttp.TraceConfig:
    """A trace config with a receiver that does nothing for each signal."""

    async def nothing(session: object, context: object, params: object) -> None:
        pass

    config = aiohttp.TraceConfig()
    for signal in vars(aiohttp.TraceConfig):
        if signal.startswith("on_") and signal not in but:
            getattr(config, signal).append(nothing)
    return config


def by_hand(
    url: str, tracer_provider: trace.TracerProvider, meter_provider: metrics.MeterProvider
) -> aiohttp.TraceConfig:
    """A trace config that does with the SDK what every instrumentation has to, and no more."""
    tracer = tracer_provider.get_tracer("floor")
    histogram = meter_provider.get_meter("floor").create_histogram("floor")
    known = {"http.request.method": "GET", "server.address": "127.0.0.1", "server.port": 80}
    span_attributes = {**known, "url.full": url, "network.protocol.version": "1.1"}
    metric_attributes = {**known, "http.response.status_code": 200, "network.protocol.version": "1.1"}
    propagator = TraceContextTextMapPropagator()

    async def start(session: object, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        context.begun = perf_counter()
        context.span = tracer.start_span("GET", None, SpanKind.CLIENT, span_attributes)
        propagator.inject(params.headers, set_span_in_context(context.span))

    async def end(session: object, context: Any, params: object) -> None:
        context.span.set_attribute("http.response.status_code", 200)
        context.span.end()
        histogram.record(perf_counter() - context.begun, metric_attributes)

    config = doing_nothing("on_request_start", "on_request_end")
    config.on_request_start.append(start)
    config.on_request_end.append(end)
    return config


@dataclass(frozen=True)
class Way:
    """One way of making requests: what is done before and after, and the session's trace config."""

    on: Callable[[], object] = lambda: None
    off: Callable[[], object] = lambda: None
    config: aiohttp.TraceConfig | None = None


def ways(url: str) -> dict[str, Way]:
    contrib, hopline = ContribInstrumentor(), AioHttpClientInstrumentor()
    for_floor, for_contrib, for_hopline = sdk.providers(), sdk.providers(), sdk.providers()

    def on_and_off() -> None:
        hopline.instrument(**for_hopline)
        hopline.uninstrument()

    return {
        "bare": Way(),
        "signals that do nothing": Way(config=doing_nothing()),
        "floor": Way(config=by_hand(url, **for_floor)),
        "contrib": Way(lambda: contrib.instrument(**for_contrib), contrib.uninstrument),
        "hopline": Way(lambda: hopline.instrument(**for_hopline), hopline.uninstrument),
        "hopline, uninstrumented": Way(on_and_off),
    }


def measured_by(requests: int, body: int, rounds: int) -> Measured:
    """The CPU microseconds of each way in each round."""
    with serving(body) as url:
        each = ways(url)

        def cost(name: str) -> float:
            way = each[name]
            way.on()
            try:
                return asyncio.run(measure(url, requests, way.config))
            finally:
                way.off()

        return in_rounds(each, cost, rounds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--body", type=int, default=128)
    options = parser.parse_args()
    measured = in_new_processes(partial(measured_by, options.requests, options.body), options.rounds)
    show(f"aiohttp {aiohttp.__version__}, loopback, sampled + metrics", measured)
    ratio = added(measured, "hopline") / added(measured, "contrib")
    print(f"  floor ÷ contrib's added: {added(measured, 'floor') / added(measured, 'contrib'):.2f}")
    report([Row("aiohttp, loopback, sampled + metrics", "added ÷ contrib's added", ratio, 0.5)])


if __name__ == "__main__":
    main()
