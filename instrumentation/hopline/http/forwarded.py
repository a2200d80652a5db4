"""What proxies say of the client behind them, in ``Forwarded`` (RFC 7239) or the ``X-Forwarded-*`` fields.

Anyone can send these fields, so they are read only where a setting says that a proxy in front rewrites them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hopline.http.server_request import ServerRequest

# From the beginning of a name only: to try each of its letters would take the square of its length.
_PAIR = re.compile(r'(?<![A-Za-z])([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;,"\s]+)')
_SCHEMES = frozenset(("http", "https", "ws", "wss"))
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the first proxy saw; what it did not say is empty.

    Attributes:
        client: the client's address.
        scheme: the scheme that the client used.
        host: the ``Host`` field that the client sent.
    """

    client: str = ""
    scheme: str = ""
    host: str = ""


def forwarded(request: ServerRequest) -> Forwarded:
    """Read what proxies say of ``request``: from ``Forwarded`` if it came, else from ``X-Forwarded-*``."""
    standard = request.value("forwarded")[:_LONGEST]
    if standard:
        return _standard(standard)
    fields = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    return _made(*(_first(request, field) for field in fields))


def _first(request: ServerRequest, name: str) -> str:
    return request.value(name)[:_LONGEST].partition(",")[0].strip()


def _standard(text: str) -> Forwarded:
    said: dict[str, str] = {}
    end = 0
    for pair in _PAIR.finditer(text):
        if said and "," in text[end : pair.start()]:
            break  # what follows is what the next proxy saw
        said[pair[1].lower()] = pair[2].strip('"')
        end = pair.end()
    return _made(*(said.get(name, "") for name in ("for", "proto", "host")))


def _made(client: str, scheme: str, host: str) -> Forwarded:
    scheme = scheme.lower()
    return Forwarded(client=_address(client), scheme=scheme if scheme in _SCHEMES else "", host=host)


def _address(text: str) -> str:
    """The address in ``192.0.2.1:80``, ``[2001:db8::1]:80``, ``2001:db8::1`` or an obfuscated name such as ``_x``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
