from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hopline.aiohttp_client import AioHttpClientInstrumentor
from tests.telemetry import Telemetry, instrumenting
from tests.web_server import WebServer


@pytest.fixture
def instrument(telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Instrument aiohttp's client, for the length of the test, with telemetry of its own."""
    with instrumenting(AioHttpClientInstrumentor(), telemetry) as instrument:
        yield instrument


@pytest.fixture
def site() -> Iterator[WebServer]:
    with WebServer() as site:
        yield site


@pytest.fixture
def other_site() -> Iterator[WebServer]:
    with WebServer() as site:
        yield site


@pytest.fixture(autouse=True)
def nothing_is_logged_of_contexts(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry complains, and only logs it, of a context that is detached where it was not attached."""
    yield
    complaints = [record for record in caplog.get_records("call") if "different Context" in record.getMessage()]
    assert complaints == []
