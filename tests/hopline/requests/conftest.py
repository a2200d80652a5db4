from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from hopline.requests import RequestsInstrumentor
from tests.telemetry import Telemetry


@pytest.fixture
def instrument(telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Instrument requests, for the length of the test, with telemetry of its own."""
    instrumentor = RequestsInstrumentor()

    def instrument(**arguments: Any) -> None:
        instrumentor.instrument(**{**telemetry.providers, **arguments})

    yield instrument
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


class Stalling(list):
    """The chunks of a body of which the first comes and the next does not, until the test is over."""

    def __init__(self):
        super().__init__()
        self._over = threading.Event()

    def __iter__(self):
        yield b"x" * 10
        self.wait()

    def wait(self) -> None:
        self._over.wait(30)

    def release(self) -> None:
        self._over.set()


@pytest.fixture
def stalling() -> Iterator[Stalling]:
    stalling = Stalling()
    yield stalling
    stalling.release()
