"""CPU time of a statsd line, packed and sent: hopline, PyPI's `statsd` pipeline, DogStatsD, and by hand.

And of a span, from its end to its line in the packet. All in one process, by turns, to one sink; medians.

    python benchmarks/statsd_lines.py
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

import statsd
from datadog.dogstatsd import DogStatsd
from harness import Row, each, interleaved, median, report, show
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
LINES = 20_000  # of one turn

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


def contenders(port: int) -> dict[str, Contender]:
    return {
        "by hand": by_hand(port),
        "statsd pipeline": statsd_pipeline(port),
        "DogStatsD buffered": dogstatsd(port, None),
        "DogStatsD buffered, 3 tags": dogstatsd(port, TAGS),
        "hopline timing": hopline_client(port),
        "hopline span, into the buffer": hopline_spans(port, "plain", sends=False),
        "hopline span, 3 tags, into the buffer": hopline_spans(port, "dogstatsd", sends=False),
        "hopline span, sent": hopline_spans(port, "plain", sends=True),
        "hopline span, 3 tags, sent": hopline_spans(port, "dogstatsd", sends=True),
    }


def main() -> None:
    with Sink() as sink:
        calls = {name: partial(contender, LINES) for name, contender in contenders(sink.port).items()}
        measured = each(interleaved(calls, rounds=45, warm_up=1), LINES)
    show("statsd", measured, None, "microseconds per line")

    def row(case: str, name: str, peer: str, target: float) -> Row:
        return Row(case, f"CPU per line ÷ {peer}", median(measured, name) / median(measured, peer), target)

    timing, span = "statsd: `timing`, packed and sent", "statsd: span end → line in the buffer"
    report(
        [
            row(timing, "hopline timing", "statsd pipeline", 0.6),
            row(timing, "hopline timing", "DogStatsD buffered", 0.4),
            row(span, "hopline span, into the buffer", "statsd pipeline", 2.0),
            row(span, "hopline span, 3 tags, into the buffer", "DogStatsD buffered, 3 tags", 1.0),
        ]
    )


if __name__ == "__main__":
    main()
