"""What instrumentation adds to one aiohttp request on loopback, in CPU time: hopline beside contrib's instrumentor.

All in one run, round by round: bare aiohttp, contrib, hopline (all sixteen signals on), and hopline's patches with no
instrumentation left. Spans are sampled and go through a BatchSpanProcessor to an exporter that does nothing; metrics
have a reader. The server is a process of its own, so its CPU time does not count.

    python benchmarks/aiohttp_client.py [--rounds 15] [--requests 2000] [--body 128]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import process_time

os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")

import aiohttp
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor as ContribInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from hopline.aiohttp_client import AioHttpClientInstrumentor

SERVER = """
import asyncio, sys
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nContent-Type: text/plain\\r\\n\\r\\n" % int(sys.argv[1])
answer += b"x" * int(sys.argv[1])
class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        if data.endswith(b"\\r\\n\\r\\n"):
            self.transport.write(answer)
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


class Discarding(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def providers() -> dict[str, object]:
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(BatchSpanProcessor(Discarding(), max_queue_size=100_000))
    return {"tracer_provider": tracer_provider, "meter_provider": MeterProvider([InMemoryMetricReader()])}


@asynccontextmanager
async def server(body: int) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(body), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        yield f"http://127.0.0.1:{port}/users/17?page=2"
    finally:
        process.terminate()
        await process.wait()


async def measure(url: str, requests: int) -> float:
    """CPU microseconds of one request, on a connection that is kept alive."""
    async with aiohttp.ClientSession() as session:

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


def nothing() -> None:
    pass


def arms() -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    contrib, hopline = ContribInstrumentor(), AioHttpClientInstrumentor()
    for_contrib, for_hopline = providers(), providers()

    def on_and_off() -> None:
        hopline.instrument(**for_hopline)
        hopline.uninstrument()

    return {
        "bare": (nothing, nothing),
        "contrib": (lambda: contrib.instrument(**for_contrib), contrib.uninstrument),
        "hopline": (lambda: hopline.instrument(**for_hopline), hopline.uninstrument),
        "hopline, uninstrumented": (on_and_off, nothing),
    }


async def run(rounds: int, requests: int, body: int) -> dict[str, list[float]]:
    """The CPU microseconds of each arm in each round; the arms take turns in being the first."""
    each = arms()
    measured: dict[str, list[float]] = {name: [] for name in each}
    async with server(body) as url:
        await measure(url, requests)
        for number in range(rounds):
            names = list(each)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                on, off = each[name]
                on()
                measured[name].append(await measure(url, requests))
                off()
    return measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--body", type=int, default=128)
    options = parser.parse_args()
    measured = asyncio.run(run(options.rounds, options.requests, options.body))
    added = {
        name: statistics.median(with_it - bare for with_it, bare in zip(times, measured["bare"], strict=True))
        for name, times in measured.items()
    }
    print(f"aiohttp {aiohttp.__version__}, Python {sys.version.split()[0]}; CPU microseconds per request, medians")
    for name, times in measured.items():
        print(f"{name:25} {statistics.median(times):8.1f}   added {added[name]:7.1f}")
    print(f"hopline's added / contrib's added: {added['hopline'] / added['contrib']:.2f} (target: at most 0.50)")


if __name__ == "__main__":
    main()
