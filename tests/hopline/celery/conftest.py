from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from hopline.celery import CeleryInstrumentor
from tests.collector import Collector
from tests.programs import Program, environment, instrumented
from tests.servers import Redis
from tests.sites.celery_site import make_app
from tests.telemetry import Telemetry


@pytest.fixture
def instrument(telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Instrument Celery in this process, until the test ends."""

    def instrument(**arguments: object) -> None:
        CeleryInstrumentor().instrument(**{"tracer_provider": telemetry.tracer_provider, **arguments})

    yield instrument
    CeleryInstrumentor().uninstrument()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of the tests' own."""
    with Redis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


class Worker:
    """A worker process and what it has exported; a context manager.

    Attributes:
        app: the application, to publish tasks from this process.
        collector: what the worker exports to.
        program: the worker.
    """

    def __init__(self, broker: str, backend: str | None, *arguments: str, folder: Path | None = None, **variables: str):
        self.collector = Collector()
        self.app: Celery = make_app(broker, backend, None if folder is None else str(folder))
        site = {"SITE_BROKER": broker, "SITE_BACKEND": backend, "SITE_FOLDER": None if folder is None else str(folder)}
        present = {name: value for name, value in site.items() if value is not None}
        plain = (
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--hostname=tests@here",
        )
        command = instrumented("-m", "celery", "-A", "tests.sites.celery_site", "worker", *plain, *arguments)
        self.program = Program(
            command, environment(self.collector.endpoint, **present, **variables), ready="tests@here ready"
        )
        self._stack = ExitStack()

    def __enter__(self) -> Worker:
        self._stack.enter_context(self.collector)
        self._stack.callback(self.app.close)
        self._stack.enter_context(self.program)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)  # unlike `close`, it keeps what went wrong before

    def task(self, name: str):
        return self.app.tasks[f"site.{name}"]
