"""What aiohttp's server says of a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hopline.http.server_request import ServerRequest, encoded

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest


class AioHttpRequest(ServerRequest):
    """A request as aiohttp's server has parsed it.

    Args:
        request: the request.
    """

    __slots__ = ("_headers",)

    def __init__(self, request: BaseRequest) -> None:
        url = request.rel_url
        self._headers = request.headers
        self.method = request.method
        self.scheme = f"{'ws' if self._wants_websocket() else 'http'}{'s' if request.scheme == 'https' else ''}"
        self.path = encoded(_latin(url.raw_path))
        self.query = _latin(url.raw_query_string)
        self.server = _address(request, "sockname")
        self.peer = _address(request, "peername")
        self.version = f"{request.version.major}.{request.version.minor}"

    def values(self, name: str) -> list[str]:
        """The values of the header field ``name``."""
        return [_latin(value) for value in self._headers.getall(name, ())]

    def fields(self) -> Iterable[tuple[str, str]]:
        """All header fields."""
        return ((_latin(name), _latin(value)) for name, value in self._headers.items())

    def _wants_websocket(self) -> bool:
        get = self._headers.get
        return get("Upgrade", "").lower() == "websocket" and "upgrade" in get("Connection", "").lower()


def _latin(text: str) -> str:
    """``text`` as other servers have it, each byte one character; with halves of some, it could not be exported."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _address(request: BaseRequest, side: str) -> tuple[str | None, int | None]:
    name: Any = None if request.transport is None else request.transport.get_extra_info(side)
    return (name[0], name[1]) if isinstance(name, tuple) else (None, None)  # of a Unix socket it is a path
