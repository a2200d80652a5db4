"""The processes of ``hopline demo``: each under ``opentelemetry-instrument``, talked to by its standard streams."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from queue import Empty, Queue
from types import TracebackType

_RUN_INSTRUMENTED = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
_STOP_SECONDS = 2.0


class DemoProcess:
    """One process; a context manager, which stops it.

    It starts at once. Its first line says that it is ready; then it waits for one line, which lets it begin.

    Args:
        name: the name of the service.
        environment: its environment variables.
        *arguments: further arguments of ``hopline.cli.demo_service``.

    Attributes:
        url: what it has said when it was ready: its URL, if it has one.
    """

    def __init__(self, name: str, environment: Mapping[str, str], *arguments: str) -> None:
        self.name = name
        self.url = ""
        self._said: Queue[str | None] = Queue()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                "-c",
                _RUN_INSTRUMENTED,
                sys.executable,
                "-m",
                "hopline.cli.demo_service",
                name,
                *arguments,
            ],
            env={**environment, "OTEL_SERVICE_NAME": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> DemoProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def wait(self, timeout: float) -> None:
        """Wait until it is ready.

        Args:
            timeout: seconds to wait at most.

        Raises:
            SystemExit: if it does not come.
        """
        try:
            first = self._said.get(timeout=max(timeout, 0.0))
        except Empty:
            first = None
        if first is None:
            raise SystemExit(f"hopline demo: the {self.name} service did not start")
        self.url = first

    def go(self, line: str = "") -> None:
        """Let it begin, with ``line``."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def lines(self) -> list[str]:
        """What it has printed since it was last asked."""
        lines = [self._said.get() for _ in range(self._said.qsize())]
        return [line for line in lines if line is not None]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.rstrip("\n"))
        self._said.put(None)
