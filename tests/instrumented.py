"""Programs run under ``opentelemetry-instrument``, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

_FOREIGN = ("OTEL_", "STATSD_")


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with no setting of OpenTelemetry but those given, and quick exports."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "app"}
    return {**inherited, **quick, **settings}


def run(*arguments: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``opentelemetry-instrument`` with this interpreter; the program must succeed."""
    finished = subprocess.run(
        [INSTRUMENT, *options, sys.executable, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished


def run_code(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program given as text."""
    return run("-c", textwrap.dedent(program), **settings)


def fetch(*urls: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the example that fetches URLs."""
    return run(str(ROOT / "examples" / "fetch.py"), *urls, options=options, **settings)
