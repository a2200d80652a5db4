"""How many of a steady 50,000 lines a second are lost on the way to a drained sink on loopback."""

from __future__ import annotations

import argparse
import sys
import time

from statsd_sink import Sink

from hopline_statsd import StatsdClient, StatsdConfig

LINES_PER_SECOND = 50_000
TICKS_PER_SECOND = 200


def main() -> int:
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
    lost = sent - sink.lines
    rate = f"{sent / took:,.0f}/s"
    print(f"  {sent} lines in {took:.2f} s ({rate}), {stats.packets} packets, {cpu / took:.1%} CPU")
    print(f"  lost: {lost} (target 0) {'met' if lost == 0 else 'MISSED'}; dropped: {dict(stats.dropped)}")
    return 0 if lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
