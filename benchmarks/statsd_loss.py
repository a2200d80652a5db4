"""How many of a steady 50,000 lines a second are lost on the way to a drained sink on loopback.

python benchmarks/statsd_loss.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import time

from harness import Row, report
from statsd_sink import Sink

from hopline_statsd import StatsdClient, StatsdConfig

LINES_PER_SECOND = 50_000
TICKS_PER_SECOND = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to send (10)")
    ticks = round(parser.parse_args().seconds * TICKS_PER_SECOND)
    lines_per_tick = LINES_PER_SECOND // TICKS_PER_SECOND
    with Sink() as sink:
        client = StatsdClient(StatsdConfig(endpoint=f"udp://127.0.0.1:{sink.port}", prefix="my.prefix"))
        begin, cpu = time.monotonic(), time.process_time()
        for tick in range(ticks):
            for number in range(lines_per_tick):
                client.timing("requests.somehost-com.POST.200", number)
            time.sleep(max(0.0, begin + (tick + 1) / TICKS_PER_SECOND - time.monotonic()))
        client.close()
        took, cpu = time.monotonic() - begin, time.process_time() - cpu
        stats = client.stats()
    sent = ticks * lines_per_tick
    rate = f"{sent / took:,.0f}/s"
    print(f"\nstatsd loss: {sent:,} lines in {took:.2f} s ({rate}), {stats.packets:,} packets, {cpu / took:.1%} CPU")
    print(f"  arrived {sink.lines:,}, dropped by the client {sum(stats.dropped.values()):,}")
    report([Row("statsd: to a drained sink at 50,000 lines/s", "lines lost", sent - sink.lines, 0)])


if __name__ == "__main__":
    main()
