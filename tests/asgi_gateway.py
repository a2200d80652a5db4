"""An ASGI server for one request or connection: what a server does by ASGI 3, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Application = Callable[..., Any]


class AsgiGateway:
    """One request or connection to an application.

    Attributes:
        scope: what the application gets.
        incoming: the messages that it will receive.
        leaves: whether the client leaves then, or stays until the application returns.
        sent: the messages that it has sent.
        on_send: called with each of them, before the next one.
    """

    def __init__(self, app: Application, path: str = "/", kind: str = "http", **scope: Any) -> None:
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in scope.pop("headers", {}).items()]
        self.scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "path": path,
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "server": ("127.0.0.1", 8000),
            "client": ("192.0.2.1", 5000),
            **({"method": "GET", "scheme": "http"} if kind == "http" else {"scheme": "ws"}),
            **scope,
        }
        self.incoming: list[dict[str, Any]] = [
            {"type": "http.request"} if kind == "http" else {"type": "websocket.connect"}
        ]
        self.leaves = True
        self.sent: list[dict[str, Any]] = []
        self.on_send: Callable[[dict[str, Any]], Any] = lambda message: None
        self._app = app

    def serve(self) -> AsgiGateway:
        """Serve from beginning to end; raises what the application raises."""
        asyncio.run(self.run())
        return self

    async def run(self) -> None:
        await self._app(self.scope, self._receive, self._send)

    @property
    def headers(self) -> dict[str, str]:
        """The header of the response, or of the accepted handshake."""
        return {name.decode(): value.decode() for name, value in self.sent[0].get("headers", ())}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def _receive(self) -> dict[str, Any]:
        if self.incoming:
            return self.incoming.pop(0)
        if not self.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"} if self.scope["type"] == "http" else {"type": "websocket.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self.on_send(message)


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The simplest application."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})
