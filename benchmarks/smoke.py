"""Guard against a gross slow-down: the benchmarks in two minutes, and no ratio above about 1.5 times what it was.

A ratio counts as the least of up to three attempts, so that another program's work is not taken for ours. When the
code becomes faster for good, lower its bound here; the targets are in docs/performance.md.

    python benchmarks/smoke.py
"""

from __future__ import annotations

import sys

from run import run

ATTEMPTS = 3
ROUNDS = "15"
SEND = "requests, `Session.send`, sampled + metrics"
UNSAMPLED = "requests, not sampled, no metrics reader"
TIMING = "statsd: `timing`, packed and sent"
SPAN = "statsd: span end → line in the buffer"

# script: {(case, measure): bound}
BOUNDS = {
    "requests_send": {
        (SEND, "added ÷ floor"): 2.0,
        (SEND, "added ÷ contrib's added"): 0.75,
        (UNSAMPLED, "added ÷ what the floor adds after each call"): 1.8,
        (UNSAMPLED, "added ÷ contrib's added"): 0.5,
        ("requests, API only (no SDK)", "added ÷ contrib's added"): 0.22,
        ("request id + statsd on top", "added ÷ floor"): 0.5,
    },
    "aiohttp_client": {("aiohttp, loopback, sampled + metrics", "added ÷ contrib's added"): 1.0},
    "statsd_lines": {
        (TIMING, "CPU per line ÷ statsd pipeline"): 0.85,
        (TIMING, "CPU per line ÷ DogStatsD buffered"): 0.5,
        (SPAN, "CPU per line ÷ statsd pipeline"): 1.6,
        (SPAN, "CPU per line ÷ DogStatsD buffered, 3 tags"): 0.75,
    },
    "startup": {
        ("start-up: `opentelemetry-instrument python -c pass`", "CPU ÷ contrib's"): 1.0,
        (
            "start-up: imported, and not by the application",
            "modules of ssl, urllib3, requests, aiohttp, celery, gevent",
        ): 0,
    },
}


def excesses(script: str) -> list[str]:
    """What is above its bound in each of the attempts; an attempt is the last when nothing is."""
    least = dict.fromkeys(BOUNDS[script], float("inf"))
    for _ in range(ATTEMPTS):
        _, rows = run(script, HOPLINE_BENCH_ROUNDS=ROUNDS)
        found = {(row.case, row.measure): row.value for row in rows}
        least = {key: min(value, found[key]) for key, value in least.items()}
        above = [
            f"{case}: {measure} = {value:.2f}, at most {BOUNDS[script][case, measure]:g}"
            for (case, measure), value in least.items()
            if value > BOUNDS[script][case, measure]
        ]
        if not above:
            return []
    return above


if __name__ == "__main__":
    slow = [line for script in BOUNDS for line in excesses(script)]
    if slow:
        sys.exit("\n".join(["grossly slower than it was:", *slow]))
    print("\nno ratio is above its bound")
