"""Threads that carry context variables, and programs under `opentelemetry-instrument`."""

import os
import subprocess
import textwrap
from importlib.metadata import entry_points

import pytest

from hopline.concurrency import ThreadingInstrumentor
from tests import programs


@pytest.fixture
def instrumentor():
    instrumentor = ThreadingInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def instrumented(instrumentor):
    pass


def others_instrumentors():
    """Those that are installed for other tests: some import what they instrument."""
    installed = entry_points(group="opentelemetry_instrumentor")
    return {each.name for each in installed} - {each.name for each in installed if each.value.startswith("hopline.")}


class Program:
    """A program that runs."""

    def __init__(self, path, environment):
        self._process = subprocess.Popen(
            programs.instrumented(str(path)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self):
        """Wait for its end; gives what it has printed, to its output and to its errors."""
        output, errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, errors
        return output.strip(), errors.strip()

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(tmp_path, server):
    """Starts a program, with the server as its OTLP receiver."""
    started = []

    def start(program, **environment):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(program))
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(others_instrumentors()),
        }
        started.append(Program(path, {**os.environ, **settings, **environment}))
        return started[-1]

    yield start
    for program in started:
        program.kill()
