"""A real OpenTelemetry collector, rotel, as one of the servers of `tests.servers`; it prints what it receives."""

from __future__ import annotations

import importlib.util
import re
import sysconfig
from pathlib import Path

from tests.servers import Server, accepts, free_port, wait_until

_SPAN = re.compile(r"^Span #\d+$", re.MULTILINE)
_FIELD = re.compile(r"^(?:\s+(?:-> )?)?([\w. ]+?)\s*: (.*)$", re.MULTILINE)
_VALUE = re.compile(r"^\w+\((.*)\)$")


class Rotel(Server):
    """The collector.

    Attributes:
        url: the value for ``OTEL_EXPORTER_OTLP_ENDPOINT``.
    """

    name = "rotel"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def command(self) -> list[str]:
        package = importlib.util.find_spec("rotel")
        assert package is not None
        assert package.origin is not None
        return [
            str(Path(package.origin).with_name("rotel-agent")),
            "start",
            f"--otlp-http-endpoint=127.0.0.1:{self._port}",
            f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
            "--exporter=blackhole",
            "--debug-log=traces",
            "--debug-log-verbosity=detailed",
            f"--pid-file={self.folder / 'rotel.pid'}",
        ]

    def environment(self) -> dict[str, str]:
        # It is linked to the interpreter that its wheel is for.
        return {**super().environment(), "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}

    def is_ready(self) -> bool:
        return accepts(self._port)

    def wait_for_spans(self, count: int) -> list[dict[str, str]]:
        """Wait until that many spans have been printed; each as a dictionary of what was printed of it."""
        wait_until(lambda: len(self._spans()) >= count, f"{count} spans reach the collector")
        return self._spans()

    def _spans(self) -> list[dict[str, str]]:
        return [_fields(text) for text in _SPAN.split(self.log.read_text())[1:]]


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        fields.setdefault(name, _VALUE.sub(r"\1", value))  # a link's ids come after the span's own
    return fields
