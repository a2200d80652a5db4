from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme
from proxy import Proxy

from hopline.requests import RequestsInstrumentor
from tests.loopback import LoopbackServer
from tests.telemetry import Telemetry, instrumenting


@pytest.fixture
def instrument(telemetry: Telemetry) -> Iterator[Callable[..., None]]:
    """Instrument requests, for the length of the test, with telemetry of its own."""
    with instrumenting(RequestsInstrumentor(), telemetry) as instrument:
        yield instrument


PROXY = ["--hostname", "127.0.0.1", "--port", "0", "--num-workers", "1", "--num-acceptors", "1"]


@pytest.fixture(scope="session")
def proxy() -> Iterator[str]:
    """The URL of a forward proxy on loopback; it takes a second to stop, and so serves all tests."""
    with Proxy(PROXY) as proxy:
        yield f"http://127.0.0.1:{proxy.flags.port}"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Whoever issues the throw-away certificates."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """A file to verify those certificates against."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[LoopbackServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with LoopbackServer(context) as server:
        yield server


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
