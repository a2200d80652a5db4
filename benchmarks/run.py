"""Run every benchmark, each in a process of its own, and write docs/performance.md.

    python benchmarks/run.py [SCRIPT ...]

With names of scripts, only those run, and the page stays as it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from harness import Row, verdict

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by benchmarks/run.py: begin -->", "<!-- end -->"
SCRIPTS = ("requests_send", "aiohttp_client", "statsd_lines", "statsd_loss", "startup", "memory", "scale")
PACKAGES = (
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-aiohttp-client",
    "opentelemetry-distro",
    "requests",
    "aiohttp",
    "wrapt",
    "statsd",
    "datadog",
)


def run(script: str, **environment: str) -> tuple[str, list[Row]]:
    """Run one script, showing what it prints; return that, and its rows."""
    with tempfile.TemporaryDirectory() as directory:
        rows = Path(directory, "rows")
        rows.touch()
        process = subprocess.Popen(
            [sys.executable, HERE / f"{script}.py"],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "HOPLINE_BENCH_ROWS": str(rows), **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
        if process.wait():
            raise SystemExit(f"{script}.py ended with {process.returncode}")
        found = [Row(**json.loads(line)) for line in rows.read_text("utf-8").splitlines()]
    print(*map(verdict, found), sep="\n", flush=True)
    return "".join(printed).strip("\n"), found


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(minutes: float) -> str:
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.date.today():%d %B %Y}, in {minutes:.0f} minutes: {processor()}, {cores} cores, "
        f"{platform.system()} {platform.machine()}, {platform.python_implementation()} {platform.python_version()}; "
        f"{packages}."
    )


def table(rows: list[Row]) -> Iterator[str]:
    yield "| case | measure | value | target | |"
    yield "|---|---|--:|--:|---|"
    for row in rows:
        target, reached = "", ""
        if row.target is not None:
            target, reached = f"≤ {row.target:g}", "reached" if row.reached else "**missed**"
        said = f"{reached}; {row.note}" if row.note else reached
        yield f"| {row.case} | {row.measure} | {row.value:.2f} | {target} | {said} |"


def written(ran: dict[str, tuple[str, list[Row]]], minutes: float) -> str:
    """The part of the page that is not kept by hand."""
    parts = [machine(minutes), "\n".join(table([row for _, rows in ran.values() for row in rows]))]
    parts.append("## Side by side")
    parts += [f"`benchmarks/{script}.py`:\n\n```text\n{printed}\n```" for script, (printed, _) in ran.items()]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    chosen = parser.parse_args().scripts
    begin = time.monotonic()
    ran = {script: run(script) for script in chosen or SCRIPTS}
    minutes = (time.monotonic() - begin) / 60
    print(f"\n{minutes:.1f} minutes")
    if not chosen:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{written(ran, minutes)}\n\n{END}{after}", "utf-8")
        print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
