"""CPU time of a statsd line, packed and sent: hopline, PyPI's `statsd` pipeline, DogStatsD, and by hand.

And of a span, from its end to its line in the packet. All in one process, by turns, to one sink; medians.
"""

from __future__ import annotations

import argparse
import gc
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable

import statsd
from datadog.dogstatsd import DogStatsd
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind
from statsd_sink import Sink

from hopline_statsd import StatsdClient, StatsdConfig, StatsdSpanProcessor

PACKET = 1432
PACKETFUL = 25  # lines
NAME = "requests.somehost-com.POST.200"
FULL_NAME = f"my.prefix.{NAME}"
TAGS = ["host:somehost.com", "method:POST", "status:200"]
MILLISECONDS = 12.345678

Contender = Callable[[int], None]


def by_hand(port: int) -> Contender:
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sending.connect(("127.0.0.1", port))

    def run(count: int) -> None:
        lines: list[str] = []
        size = 0
        for _ in range(count):
            line = f"{FULL_NAME}:{MILLISECONDS:.3f}|ms"
            size += len(line) + 1
            if size > PACKET:
                sending.send("\n".join(lines).encode())
                lines = []
                size = len(line) + 1
            lines.append(line)
        sending.send("\n".join(lines).encode())

    return run


def hopline_client(port: int) -> Contender:
    client = StatsdClient(StatsdConfig(endpoint=f"udp://127.0.0.1:{port}", prefix="my.prefix"))

    def run(count: int) -> None:
        timing = client.timing
        for _ in range(count):
            timing(NAME, MILLISECONDS)
        client.flush()

    return run


def statsd_pipeline(port: int) -> Contender:
    client = statsd.StatsClient("127.0.0.1", port, prefix="my.prefix", maxudpsize=PACKET)

    def run(count: int) -> None:
        pipeline = client.pipeline()
        timing = pipeline.timing
        for _ in range(count):
            timing(NAME, MILLISECONDS)
        pipeline.send()

    return run


def dogstatsd(port: int, tags: list[str] | None) -> Contender:
    client = DogStatsd("127.0.0.1", port, max_buffer_len=PACKET, disable_telemetry=True, disable_buffering=False)
    name = "my.prefix.requests" if tags else FULL_NAME

    def run(count: int) -> None:
        timing = client.timing
        for _ in range(count):
            timing(name, MILLISECONDS, tags=tags)
        client.flush()

    return run


def ended_span() -> ReadableSpan:
    span = (
        TracerProvider(shutdown_on_exit=False)
        .get_tracer("benchmark")
        .start_span(
            "POST",
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": "POST",
                "server.address": "somehost.com",
                "server.port": 443,
                "url.full": "https://somehost.com/some/url",
                "network.protocol.version": "1.1",
                "http.response.status_code": 200,
                "hopline.request_id": "00f067aa0ba902b7-4bf92f3577b34da6",
            },
        )
    )
    span.end()
    return span


def hopline_spans(port: int, dialect: str, sends: bool) -> Contender:
    processor = StatsdSpanProcessor(
        StatsdConfig(endpoint=f"udp://127.0.0.1:{port}", prefix="my.prefix", dialect=dialect, max_packet_size=PACKET)
    )
    span = ended_span()

    def run(count: int) -> None:
        on_end = processor.on_end
        for _ in range(count):
            on_end(span)
        processor.force_flush()

    def run_to_the_buffer(count: int) -> None:
        on_end, entries = processor.on_end, processor._entries
        processor._room[0] = 2 * PACKETFUL  # what is measured ends with the line in the buffer
        for _ in range(count // PACKETFUL):
            for _ in range(PACKETFUL):
                on_end(span)
            entries.clear()

    if sends:
        return run
    return run_to_the_buffer


def measure(contenders: dict[str, Contender], lines: int, rounds: int) -> dict[str, float]:
    """Return the median CPU time of each contender's line, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(lines)  # warm-up
    gc.collect()
    for _ in range(rounds):
        for name, contender in contenders.items():
            before = time.process_time_ns()
            contender(lines)
            times[name].append((time.process_time_ns() - before) / lines / 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="seconds, and bounds twice as wide")
    smoke = parser.parse_args().smoke
    with Sink() as sink:
        contenders = {
            "by hand": by_hand(sink.port),
            "statsd pipeline": statsd_pipeline(sink.port),
            "DogStatsD buffered": dogstatsd(sink.port, None),
            "DogStatsD buffered, 3 tags": dogstatsd(sink.port, TAGS),
            "hopline timing": hopline_client(sink.port),
            "hopline span, into the buffer": hopline_spans(sink.port, "plain", sends=False),
            "hopline span, 3 tags, into the buffer": hopline_spans(sink.port, "dogstatsd", sends=False),
            "hopline span, sent": hopline_spans(sink.port, "plain", sends=True),
            "hopline span, 3 tags, sent": hopline_spans(sink.port, "dogstatsd", sends=True),
        }
        took = measure(contenders, 5_000 if smoke else 20_000, 5 if smoke else 25)
    pipeline, dog, dog_tags = (took[name] for name in list(contenders)[1:4])
    targets = [
        ("hopline timing", "statsd pipeline", pipeline, 0.6),
        ("hopline timing", "DogStatsD buffered", dog, 0.4),
        ("hopline span, into the buffer", "statsd pipeline", pipeline, 2.0),
        ("hopline span, 3 tags, into the buffer", "DogStatsD buffered, 3 tags", dog_tags, 1.0),
    ]
    return report(took, targets, slack=2.0 if smoke else 1.0)


def report(took: dict[str, float], targets: list[tuple[str, str, float, float]], slack: float) -> int:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"CPU time of a line, in µs (median; {python})", end="\n\n")
    for name, value in took.items():
        print(f"  {name:<40}{value:6.2f}")
    print()
    missed = 0
    for name, peer, value, target in targets:
        ratio = took[name] / value
        is_met = ratio <= target * slack
        missed += not is_met
        print(f"  {name} / {peer}: {ratio:.2f} (target {target:.1f}) {'met' if is_met else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
