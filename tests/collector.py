"""A real OpenTelemetry collector, rotel, in a process of its own; it prints the spans that it receives."""

from __future__ import annotations

import importlib.util
import re
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

_START_SECONDS = 20.0
_SPAN = re.compile(r"^Span #\d+$", re.MULTILINE)
_FIELD = re.compile(r"^\s+(?:-> )?([\w. ]+?)\s*: (.*)$", re.MULTILINE)
_VALUE = re.compile(r"^\w+\((.*)\)$")


def rotel_program() -> Path | None:
    """Where the collector's program is, in the package that pip installs; None if it is not installed."""
    found = importlib.util.find_spec("rotel")
    if found is None or not found.submodule_search_locations:
        return None
    program = Path(found.submodule_search_locations[0]) / "rotel-agent"
    return program if program.exists() else None


class Rotel:
    """The collector; a context manager.

    Attributes:
        url: the value for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
    """

    def __init__(self, folder: Path) -> None:
        self._output = folder / "rotel.log"
        http, grpc = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{http}"
        self._command = [
            str(rotel_program()),
            "start",
            f"--otlp-http-endpoint=127.0.0.1:{http}",
            f"--otlp-grpc-endpoint=127.0.0.1:{grpc}",
            "--exporter=blackhole",
            "--debug-log=traces",
            "--debug-log-verbosity=detailed",
            f"--pid-file={folder / 'rotel.pid'}",
        ]
        self._port = http

    def __enter__(self) -> Rotel:
        with self._output.open("w") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self._port):
            assert self._process.poll() is None, self._output.read_text()
            assert time.monotonic() < deadline, "rotel does not listen"
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)

    def wait_for_spans(self, count: int, timeout: float = 20.0) -> list[dict[str, str]]:
        """Wait until that many spans have been printed; each as a dictionary of what was printed of it."""
        deadline = time.monotonic() + timeout
        while True:
            spans = [_fields(text) for text in _SPAN.split(self._output.read_text())[1:]]
            if len(spans) >= count:
                return spans
            assert time.monotonic() < deadline, self._output.read_text()
            time.sleep(0.05)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        fields.setdefault(name, _VALUE.sub(r"\1", value))  # a link's ids come after the span's own
    return fields


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
