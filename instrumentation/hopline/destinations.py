"""Where a request goes: everything that can be known about an origin before a request is made, made once."""

from __future__ import annotations

from threading import Lock
from typing import Any
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MAX_ORIGINS = 16_384


class Destination:
    """One origin: scheme, host and port.

    Attributes:
        scheme: in lower case, for instance ``https``.
        host: the host name or IP address, in lower case and without brackets; empty if the URL has none.
        port: the port, the scheme's default one if the URL names none, or None if there is no default.
        operations: what :mod:`hopline.http` has prepared for this destination, by its own keys.
    """

    __slots__ = ("host", "operations", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int | None) -> None:
        self.scheme = scheme
        self.host = host
        self.port = _DEFAULT_PORTS.get(scheme) if port is None else port
        self.operations: dict[Any, Any] = {}


class Destinations:
    """The destinations met so far, by origin: one dictionary look-up for each that was met before. Bounded."""

    def __init__(self) -> None:
        self._by_origin: dict[str, Destination] = {}
        self._adding = Lock()

    def of(self, url: str) -> Destination:
        """The destination of ``url``; for one that cannot be parsed, a destination without a host."""
        # The slash that ends the authority: "http://" is 7 characters long, and no authority is empty.
        end = url.find("/", 8)
        origin = url if end < 0 else url[:end]
        return self._by_origin.get(origin) or self._met(origin)

    def _met(self, origin: str) -> Destination:
        key, destination = _parse(origin)
        with self._adding:
            known = self._by_origin.setdefault(key, destination)
            if len(self._by_origin) > _MAX_ORIGINS:
                del self._by_origin[next(iter(self._by_origin))]
        return known


def _parse(origin: str) -> tuple[str, Destination]:
    try:
        parsed = urlsplit(origin)
        host, port = parsed.hostname or "", parsed.port
    except ValueError:
        scheme = origin.partition("://")[0].lower()
        return f"{scheme}://", Destination(scheme, "", None)
    # Only the plain form is a key: what else stands in `origin` may be a secret, or different each time.
    return f"{parsed.scheme}://{parsed.netloc.rpartition('@')[2]}", Destination(parsed.scheme, host, port)
