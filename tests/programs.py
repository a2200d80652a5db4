"""Real programs that run beside a test, or to their end, and are stopped by their own pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests.servers import accepts

ROOT = Path(__file__).parent.parent
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))

_DEADLINE = 30.0
_FOREIGN = ("OTEL_", "STATSD_")


def instrumented(*command: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command line that runs this interpreter with `command` under `opentelemetry-instrument`."""
    return [INSTRUMENT, *options, sys.executable, *command]


def environment(endpoint: str | None = None, **settings: str) -> dict[str, str]:
    """An environment for a program, which finds the modules of the tests and exports quickly.

    It is this process's, with no setting of OpenTelemetry but those given.

    Args:
        endpoint: where it exports to over OTLP.
        **settings: more variables.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "app"}
    exported = {} if endpoint is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    return {**inherited, "PYTHONPATH": str(ROOT), **quick, **exported, **settings}


class Program:
    """A program; a context manager that stops it.

    Args:
        command: its command line.
        environment: its environment.
        port: where it will listen, if it does.
        ready: what it prints when it is ready, if it does.
    """

    def __init__(
        self, command: list[str], environment: Mapping[str, str], port: int | None = None, ready: str | None = None
    ) -> None:
        self._command = command
        self._environment = environment
        self._port = port
        self._ready = ready
        self._said = TemporaryFile(mode="w+")  # noqa: SIM115

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            self._command, env=dict(self._environment), stdout=self._said, stderr=subprocess.STDOUT, text=True
        )
        deadline = time.monotonic() + _DEADLINE
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.output
                self.__exit__()
                raise AssertionError(f"{self._command} did not start:\n{said}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        with self._said:
            self.stop()

    def wait(self) -> int:
        """Wait for the program to end by itself; gives its exit status."""
        return self._process.wait(_DEADLINE)

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask the program to end, and wait for it; gives its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signum)
        try:
            return self._process.wait(_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def output(self) -> str:
        """What the program has printed."""
        return Path(f"/proc/self/fd/{self._said.fileno()}").read_text()

    def _is_ready(self) -> bool:
        if self._ready is not None:
            return self._ready in self.output
        if self._port is None:
            return True
        return accepts(self._port)


def run(
    command: list[str], environment: Mapping[str, str] | None = None, **arguments: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; it must succeed."""
    arguments = {"timeout": 60, **arguments}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **arguments)
    assert finished.returncode == 0, finished.stderr
    return finished


def run_code(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program given as text under `opentelemetry-instrument`."""
    return run(instrumented("-c", textwrap.dedent(program)), environment(**settings))


def fetch(*urls: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the example that fetches URLs under `opentelemetry-instrument`."""
    example = str(ROOT / "examples" / "fetch.py")
    return run(instrumented(example, *urls, options=options), environment(**settings))
