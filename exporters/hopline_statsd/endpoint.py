"""What an endpoint URL means: which kind of socket, and where to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

SCHEMES = ("udp", "udp6", "unix", "unixstream", "tcp")
DEFAULT_PORT = 8125
DEFAULT_HOST = "localhost"
_NO_PORT = "the port is not between 1 and 65535"


@dataclass(frozen=True)
class Endpoint:
    """The address of a statsd server.

    Attributes:
        scheme: `udp`, `udp6`, `unix` (datagrams), `unixstream` or `tcp`.
        host: A host name or an IP address without brackets; empty for the unix schemes.
        port: 1 to 65535.
        path: The path of the socket for the unix schemes, else empty.
    """

    scheme: str = "udp"
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read an endpoint URL; `host:port` without a scheme is UDP.

        Args:
            url: `udp://host:port`, `udp6://[::1]:8125`, `unix:///run/statsd.sock`, `unixstream:///…` or
                `tcp://…`.

        Returns:
            The endpoint; the port is 8125 where the URL has none.

        Raises:
            ValueError: The URL says nothing that can be sent to; the message is the reason.
        """
        scheme, colon, rest = url.partition(":")
        if colon and scheme in SCHEMES and not rest.startswith("//") and not rest.isdigit():
            raise ValueError(f"it is written {cls.parse(f'{scheme}://{rest}')}")
        parts = urlsplit(url if "://" in url else f"udp://{url}")
        if parts.scheme not in SCHEMES:
            raise ValueError(f"the scheme is none of {', '.join(SCHEMES)}")
        if parts.scheme.startswith("unix"):
            return cls(parts.scheme, "", 0, _path(parts))
        endpoint = cls(parts.scheme, _host(parts), _port(parts))
        if parts.path not in ("", "/") or _query(parts):
            more = parts.path + _query(parts)
            raise ValueError(f"{more!r} after host and port says nothing; a prefix is set by itself")
        return endpoint

    def with_port(self, port: str) -> Endpoint:
        """Make the endpoint at another port of the same host.

        Args:
            port: 1 to 65535, in digits.

        Raises:
            ValueError: It is no port.
        """
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError(_NO_PORT)
        return replace(self, port=int(port))

    @property
    def is_datagram(self) -> bool:
        """Whether a packet arrives whole or not at all."""
        return self.scheme in ("udp", "udp6", "unix")

    def __str__(self) -> str:
        if self.path:
            return f"{self.scheme}://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _path(parts: SplitResult) -> str:
    if parts.netloc or not parts.path.strip("/"):
        raise ValueError("a unix endpoint is unix:///absolute/path")
    if _query(parts):
        raise ValueError(f"{_query(parts)!r} after the path says nothing")
    return parts.path


def _query(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return f"{query}#{parts.fragment}" if parts.fragment else query


def _host(parts: SplitResult) -> str:
    host = parts.hostname
    if not host or any(character.isspace() for character in host):
        raise ValueError("there is no host")
    return host


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None and not parts.netloc.endswith(":"):
        return DEFAULT_PORT
    if not port:
        raise ValueError(_NO_PORT)
    return port
