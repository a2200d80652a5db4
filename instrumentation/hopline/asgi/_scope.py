"""What a ``scope`` says of a request, and what is put into it for the application and the framework."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from hopline.http.server_request import ServerRequest, encoded

_UNKNOWN = (None, None)

# Frameworks that make server spans of their own look here first whether somebody else tells of the request: FastAPI's
# telemetry, and Starlette's middleware.
_TOLD = (("fastapi.telemetry", None), ("starlette.opentelemetry", True))


class AsgiRequest(ServerRequest):
    """A request or WebSocket connection as its ``scope`` (ASGI 3) describes it."""

    __slots__ = ("_fields", "_raw", "root")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        get = scope.get
        is_websocket = scope["type"] == "websocket"
        raw = get("headers") or ()
        if not isinstance(raw, (list, tuple)):
            scope["headers"] = raw = list(raw)  # it may be any iterable, and the application reads it too
        self._raw: Iterable[tuple[bytes, bytes]] = raw
        self._fields: dict[bytes, list[bytes]] = {}
        for name, value in self._raw:
            self._fields.setdefault(name.lower(), []).append(value)
        self.method = "GET" if is_websocket else get("method", "")
        self.scheme = get("scheme") or ("ws" if is_websocket else "http")
        self.path = _path(scope)
        self.query = (get("query_string") or b"").decode("latin-1")
        self.root = get("root_path") or ""
        self.server = tuple(get("server") or _UNKNOWN)
        self.peer = tuple(get("client") or _UNKNOWN)
        self.version = get("http_version")

    def values(self, name: str) -> list[str]:
        """The values of the header field ``name``."""
        return [value.decode("latin-1") for value in self._fields.get(name.lower().encode("latin-1"), ())]

    def fields(self) -> Iterable[tuple[str, str]]:
        """All header fields."""
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw)


def put_into(scope: MutableMapping[str, Any], request_id: str | None) -> None:
    """Put what the application and the framework may want to know into ``scope``.

    Args:
        scope: the request's; changed in place, as middlewares around this one may look into it afterwards.
        request_id: becomes ``scope["state"]["request_id"]``, Starlette's ``request.state.request_id``.
    """
    scope["state"] = {"request_id": request_id, **(scope.get("state") or {})}
    # The request has its SERVER span, be it somebody else's, or is to have none.
    for name, value in _TOLD:
        scope.setdefault(name, value)


def _path(scope: MutableMapping[str, Any]) -> str:
    raw = scope.get("raw_path") or scope.get("path", "").encode("utf-8", "replace")
    return encoded(raw.decode("latin-1"))
