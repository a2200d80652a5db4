"""Response bodies, which aiohttp's application reads after the call: measured until they end, never wrapped."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientConnectionError, ClientResponse

from hopline._errors import error_type_of
from hopline._guard import guard
from hopline.http.attributes import Outcome
from hopline.http.body import ABANDONED, CLOSED, CONSUMED, Body
from hopline.http.instruments import ClientInstruments


class Download(Body):
    """The body of one response, from its header on.

    It does not hold the response, which would then not be closed when the application drops it.

    Args:
        response: the response.
        outcome: how its attempt ended.
        instruments: what it is told to.
    """

    __slots__ = ("_content", "_headers", "_streamed", "_uncounted")

    def __init__(self, response: ClientResponse, outcome: Outcome, instruments: ClientInstruments) -> None:
        super().__init__(instruments, outcome)
        self._content: Any = response.content
        self._headers = response.headers
        self._streamed = False
        self._uncounted: str | None = None

    def watch(self, connection: Any) -> None:
        """Wait for the end.

        Args:
            connection: aiohttp's connection of the response, or None if the body is here already: it has come with
                the header, and what is measured of streams does not apply to it.
        """
        if connection is None:
            self._end()
        else:
            self._streamed = True
            connection.add_callback(self._released)

    def read(self, size: int) -> None:
        """``ClientResponse.read()`` has given the application ``size`` bytes.

        The stream has counted them as they came; this counts only where the response's stream is one that does not.
        """
        if self._uncounted is not None:
            self._record(size, self._uncounted)
            self._uncounted = None

    def _released(self) -> None:
        guard(self._end)

    def _end(self) -> None:
        ending = _ending(self._content)
        size = self._size(ending)
        if size is None:
            self._uncounted = ending
        else:
            self._record(size, ending)

    def _record(self, size: int, ending: str) -> None:
        if self._streamed:
            self.tell(size, ending)
        else:
            self.instruments.record_sizes(None, size, self.outcome)

    def _size(self, ending: str) -> int | None:
        raw = getattr(self._content, "total_raw_bytes", None)  # since aiohttp 3.13
        if isinstance(raw, int):
            return raw
        counted: int | None = getattr(self._content, "total_bytes", None)
        if counted and ending == CONSUMED and "Content-Encoding" in self._headers:
            # What the stream has counted is decompressed.
            return int(self._headers.get("Content-Length", counted))
        return counted


def _ending(content: Any) -> str:
    if content.is_eof():
        return CONSUMED
    error = content.exception()
    if getattr(getattr(content, "_timer", None), "_cancelled", False):
        return error_type_of(TimeoutError())
    if error is None:
        return ABANDONED
    # aiohttp's own mark for a response that was closed early; what goes wrong has a class of its own.
    return CLOSED if type(error) is ClientConnectionError else error_type_of(error)
