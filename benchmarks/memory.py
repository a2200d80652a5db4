"""How much the process grows over a million calls: memory that grows with calls is a leak.

Every call makes a span that is exported, a measurement that is read, a request id and a statsd line; statuses, hosts
and methods vary as an application's do.

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
from sending import session
from statsd_sink import Sink

from hopline import Context
from hopline.processor import RequestIdSpanProcessor
from hopline.requests import RequestsInstrumentor
from hopline_statsd import StatsdConfig, StatsdSpanProcessor

WARM_UP = 50_000
MIB = 1 << 20


def resident() -> int:
    """The bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def call(times: int) -> None:
    sending = session()
    prepared = [
        sending.prepare_request(requests.Request(method, f"http://host-{number}.example.com/users/{number}"))
        for number in range(50)
        for method in ("GET", "POST")
    ]
    for number, request in enumerate(islice(cycle(prepared), times)):
        if number % 10 == 0:
            Context.new()
        sending.send(request.copy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    calls = parser.parse_args().calls
    with Sink() as sink:
        statsd = StatsdSpanProcessor(StatsdConfig(endpoint=f"udp://127.0.0.1:{sink.port}", prefix="bench"))
        tracers = sdk.tracer_provider(RequestIdSpanProcessor(), statsd, queue=2048)
        RequestsInstrumentor().instrument(tracer_provider=tracers, meter_provider=sdk.meter_provider())
        call(min(WARM_UP, calls))
        gc.collect()
        before = resident()
        call(calls)
        gc.collect()
        grown = (resident() - before) / MIB
        RequestsInstrumentor().uninstrument()
        tracers.shutdown()
    print(f"\nmemory: {before / MIB:.1f} MiB after the warm-up, {grown:+.2f} MiB after {calls:,} more calls")
    report([Row("memory", f"MiB grown over {calls:,} calls", grown, 1.0)])


if __name__ == "__main__":
    main()
