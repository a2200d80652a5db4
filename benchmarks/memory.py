"""How much the process grows over a million calls: memory that grows with calls is a leak.

Every call makes a span that is exported, a measurement that is read, a request id and a statsd line; statuses, hosts
and methods vary as an application's do. What waits for export is exported every few hundred calls, so that no reading
depends on how full a queue happens to be.

    python benchmarks/memory.py [--calls 1000000]
"""

from __future__ import annotations

import argparse
import gc
import os
from itertools import cycle, islice

import requests
import sdk
from harness import Row, report
from opentelemetry.sdk.trace import TracerProvider
from sending import session
from statsd_sink import Sink

from hopline import Context
from hopline.processor import RequestIdSpanProcessor
from hopline.requests import RequestsInstrumentor
from hopline_statsd import StatsdConfig, StatsdSpanProcessor

WARM_UP = 50_000
EXPORTED_EVERY = 400  # fewer than a batch: only force_flush() empties the queue
MIB = 1 << 20


def resident() -> int:
    """The bytes of this process that are in memory."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def prepared_requests(sending: requests.Session) -> list[requests.PreparedRequest]:
    return [
        sending.prepare_request(requests.Request(method, f"http://host-{number}.example.com/users/{number}"))
        for number in range(50)
        for method in ("GET", "POST")
    ]


def call(times: int, tracers: TracerProvider) -> None:
    sending = session()
    for number, request in enumerate(islice(cycle(prepared_requests(sending)), times)):
        if number % 10 == 0:
            Context.new()
        if number % EXPORTED_EVERY == 0:
            tracers.force_flush()
        sending.send(request.copy())
    tracers.force_flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    calls = parser.parse_args().calls
    with Sink() as sink:
        statsd = StatsdSpanProcessor(StatsdConfig(endpoint=f"udp://127.0.0.1:{sink.port}", prefix="bench"))
        tracers = sdk.tracer_provider(RequestIdSpanProcessor(), statsd)
        RequestsInstrumentor().instrument(tracer_provider=tracers, meter_provider=sdk.meter_provider())
        call(WARM_UP, tracers)
        before = resident()
        call(calls, tracers)
        grown = (resident() - before) / MIB
        RequestsInstrumentor().uninstrument()
        tracers.shutdown()
    print(f"\nmemory: {before / MIB:.1f} MiB after the warm-up, {grown:+.2f} MiB after {calls:,} more calls")
    report([Row("memory", f"MiB grown over {calls:,} calls", grown, 1.0)])


if __name__ == "__main__":
    main()
