"""The example application: 100 URLs through 10 connections, each event one exact statsd line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "aiohttp_fanout.py"


def run(*options):
    finished = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_each_event_is_exactly_one_statsd_line():
    printed = run()

    lines = dict(re.findall(r"^ *(\d+) lines such as (\S+):[\d.]+\|(?:ms|c)$", printed, re.MULTILINE))
    assert lines == {
        "100": "fanout.requests.localhost.page-_number_.GET.200",
        "10": "fanout.requests.localhost.connections",
        "90": "fanout.requests.localhost.queued",
    }
    assert len(re.findall("^ *90 lines", printed, re.MULTILINE)) == 2


def test_the_phase_table_counts_the_requests_that_went_through_each_phase():
    printed = run("--requests", "20", "--connections", "5")

    assert re.findall(r"^(\w+) +(\d+) +[\d.]+ +[\d.]+$", printed, re.MULTILINE) == [
        ("queue", "15"),
        ("dns", "1"),
        ("connect", "5"),
        ("headers", "20"),
    ]
