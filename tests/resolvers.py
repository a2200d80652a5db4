"""Resolvers of a test's own: every name leads to loopback, after as long as the test wants, or not at all."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohttp.abc import AbstractResolver


class LoopbackResolver(AbstractResolver):
    """Resolves every name to 127.0.0.1.

    Attributes:
        seconds: how long it takes.
        asked: the names it was asked for.
        answer_now: what it waits for in addition, or None.
        error: what it raises in place of an answer, or None.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[str] = []
        self.answer_now: asyncio.Event | None = None
        self.error: OSError | None = None

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        self.asked.append(host)
        await asyncio.sleep(self.seconds)
        if self.answer_now is not None:
            await self.answer_now.wait()
        if self.error is not None:
            raise self.error
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass
