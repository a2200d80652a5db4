"""One incoming request, as the rooms of the server interfaces describe it and propagators read it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from urllib.parse import quote

from opentelemetry.propagators.textmap import Getter

# Beside what is never encoded: RFC 3986, section 3.3. A percent sign stands for what is encoded already.
_SAFE_IN_PATH = "/!$&'()*+,;=:@~%"
_PLAIN_PATH = re.compile(r"[!$&-;=@-Z_a-z~%]*")


class ServerRequest(ABC):
    """What is known of a request when it comes in.

    Attributes:
        method: the method, as it came.
        scheme: ``http``, ``https``, ``ws`` or ``wss``, as the server has it.
        path: the path, percent-encoded.
        query: the query, without the question mark; empty if there is none.
        server: the server's own host and port; each may be unknown.
        peer: the address and port of the other end of the connection; each may be unknown.
        version: the protocol version, for instance ``1.1``, if known.
    """

    __slots__ = ("method", "path", "peer", "query", "scheme", "server", "version")

    method: str
    scheme: str
    path: str
    query: str
    server: tuple[str | None, int | None]
    peer: tuple[str | None, int | None]
    version: str | None

    @abstractmethod
    def values(self, name: str) -> list[str]:
        """The values of the header field ``name``, in any case; empty if it did not come."""

    @abstractmethod
    def fields(self) -> Iterable[tuple[str, str]]:
        """All header fields: their names and values."""

    def value(self, name: str) -> str:
        """The first value of the header field ``name``, or an empty string."""
        values = self.values(name)
        return values[0] if values else ""


class FieldGetter(Getter[ServerRequest]):
    """Reads the header of a request for a propagator."""

    def get(self, carrier: ServerRequest, key: str) -> list[str] | None:
        """The values of the field ``key``, or None."""
        return carrier.values(key) or None

    def keys(self, carrier: ServerRequest) -> list[str]:
        """The names of the fields that came."""
        return [name for name, _ in carrier.fields()]


def encoded(path: str) -> str:
    """``path`` as it came, each byte one character, with what must not be in a URL percent-encoded."""
    return path if _PLAIN_PATH.fullmatch(path) else quote(path, _SAFE_IN_PATH, "latin-1", "replace")
