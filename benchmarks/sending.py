"""Calls of requests: mostly of a session whose adapter answers at once, to measure nothing but requests."""

from __future__ import annotations

from collections.abc import Callable

import requests
from requests.adapters import BaseAdapter

URL = "http://example.com/users/17"


class Raw:
    """As much of urllib3's response as requests reads of one that is consumed."""

    version = 11
    headers: dict[str, str] = {}

    def read(self, *args: object, **kwargs: object) -> bytes:
        return b""

    def close(self) -> None:
        pass


class Answering(BaseAdapter):
    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response.request, response.url, response.raw = request, request.url, Raw()
        return response

    def close(self) -> None:
        pass


def session() -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", Answering())
    return made


def send(url: str = URL) -> Callable[[], requests.Response]:
    """A call that sends a fresh request."""
    sending = session()
    prepared = sending.prepare_request(requests.Request("GET", url))
    return lambda: sending.send(prepared.copy())


def get(url: str) -> Callable[[], requests.Response]:
    """A call that gets a URL over a socket, on a connection that is kept alive."""
    getting = requests.Session()
    getting.trust_env = False
    return lambda: getting.get(url)


def then(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], None]:
    """A call that does both."""

    def both() -> None:
        first()
        second()

    return both
