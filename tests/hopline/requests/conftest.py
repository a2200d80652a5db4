from __future__ import annotations

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
