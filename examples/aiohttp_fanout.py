"""Fetch 100 URLs through 10 connections, and show where the time went and what statsd got of it.

It needs nothing else running: the server and the statsd listener are its own, on loopback.

    python examples/aiohttp_fanout.py [--requests 100] [--connections 10]
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator

import aiohttp
from aiohttp import web
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hopline import Context
from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline_statsd.config import StatsdConfig
from hopline_statsd.listener import StatsdListener
from hopline_statsd.processor import StatsdSpanProcessor


async def answer(request: web.Request) -> web.Response:
    """What the server does."""
    await asyncio.sleep(0.005)
    return web.Response(text=f"this is {request.path}")


async def fetch(session: aiohttp.ClientSession, url: str) -> None:
    """Fetch one URL; its template is what the spans are named by."""
    async with session.get(url, trace_request_ctx={"url_template": "/page/{number}"}) as response:
        await response.read()


async def fan_out(requests: int, connections: int) -> None:
    """Fetch all URLs at once, through as few connections."""
    application = web.Application()
    application.router.add_get("/page/{number}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://localhost:{runner.addresses[0][1]}/page"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(fetch(session, f"{base}/{number}") for number in range(requests)))
    await runner.cleanup()


def phases(spans: tuple[ReadableSpan, ...]) -> Iterator[tuple[str, list[float]]]:
    """Each phase, and the milliseconds that it took in the requests that went through it."""
    for phase in ("queue", "dns", "connect", "headers"):
        name = f"hopline.phase.{phase}"
        yield phase, [1000 * span.attributes[name] for span in spans if span.attributes and name in span.attributes]


def show(spans: tuple[ReadableSpan, ...], lines: list[str]) -> None:
    """Print the phase table, and one statsd line of each name."""
    print(f"{'phase':8} {'requests':>8} {'mean ms':>8} {'max ms':>8}")
    for phase, times in phases(spans):
        mean = sum(times) / len(times) if times else 0.0
        print(f"{phase:8} {len(times):8} {mean:8.2f} {max(times, default=0.0):8.2f}")
    print()
    names = Counter(line.partition(":")[0] for line in lines)
    for name, number in sorted(names.items()):
        print(f"{number:4} lines such as {next(line for line in lines if line.startswith(name + ':'))}")


def main() -> None:
    """Set telemetry up, fan out, and show what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--connections", type=int, default=10)
    options = parser.parse_args()
    with StatsdListener() as listener:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource.create({"service.name": "fanout"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.add_span_processor(StatsdSpanProcessor(StatsdConfig(endpoint=listener.endpoint)))
        AioHttpClientInstrumentor().instrument(tracer_provider=provider)
        Context.new("fanout-example")
        asyncio.run(fan_out(options.requests, options.connections))
        provider.shutdown()
    show(exporter.get_finished_spans(), listener.lines)


if __name__ == "__main__":
    main()
