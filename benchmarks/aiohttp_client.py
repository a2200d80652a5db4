"""What instrumentation adds to one aiohttp request on loopback, in CPU time: hopline beside contrib's instrumentor.

All in one run, each in processes of its own that take turns: bare aiohttp, a trace config whose sixteen receivers do
nothing, a floor (the same with what the SDK costs for one span and one histogram, written by hand with ready-made
attributes), contrib, hopline (all sixteen signals on), and hopline uninstrumented. Spans are sampled and go through a
BatchSpanProcessor to an exporter that does nothing; metrics have a reader. The server is a process of its own, so its
CPU time does not count.

    python benchmarks/aiohttp_client.py [--body 128]
"""

from __future__ import annotations

import argparse
import asyncio
import os
from functools import partial
from time import perf_counter
from typing import Any

# The same conventions and the same headers for everybody.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"
os.environ["OTEL_PROPAGATORS"] = "tracecontext"

import aiohttp
import sdk
from harness import Arm, Call, Row, added, each, report, show
from http_server import serving
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor as ContribInstrumentor
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from processes import taking_turns

from hopline.aiohttp_client import AioHttpClientInstrumentor

REQUESTS = 5  # of one call


class Application:
    """Makes requests on a connection that is kept alive.

    Args:
        url: what it gets.
        config: a trace config of its session.
    """

    def __init__(self, url: str, config: aiohttp.TraceConfig | None = None) -> None:
        self._url = url
        self._configs = [config] if config else None
        self._session: aiohttp.ClientSession | None = None
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        """Make some requests."""
        self._loop.run_until_complete(self._run())

    def end(self) -> None:
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
        self._loop.close()

    async def _run(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(trace_configs=self._configs)
        for _ in range(REQUESTS):
            async with self._session.get(self._url) as response:
                await response.read()


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


def arms(url: str) -> dict[str, Arm]:
    contrib, hopline = ContribInstrumentor(), AioHttpClientInstrumentor()
    providers = sdk.providers()

    def on_and_off() -> None:
        hopline.instrument(**providers)
        hopline.uninstrument()

    def application(on: Call = lambda: None, config: aiohttp.TraceConfig | None = None) -> Arm:
        made = Application(url, config)
        return Arm(made.run, on, made.end)

    return {
        "bare": application(),
        "signals that do nothing": application(config=doing_nothing()),
        "floor": application(config=by_hand(url, **providers)),
        "contrib": application(partial(contrib.instrument, **providers)),
        "hopline": application(partial(hopline.instrument, **providers)),
        "hopline, uninstrumented": application(on_and_off),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--body", type=int, default=128)
    with serving(parser.parse_args().body) as url:
        measured = each(taking_turns(partial(arms, url), calls=20), REQUESTS)
    show(f"aiohttp {aiohttp.__version__}, loopback, sampled + metrics", measured)
    ratio = added(measured, "hopline") / added(measured, "contrib")
    print(f"  floor ÷ contrib's added: {added(measured, 'floor') / added(measured, 'contrib'):.2f}")
    report([Row("aiohttp, loopback, sampled + metrics", "added ÷ contrib's added", ratio, 0.5)])


if __name__ == "__main__":
    main()
