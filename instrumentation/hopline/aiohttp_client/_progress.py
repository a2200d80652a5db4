"""How far one attempt has come: which of its phases have begun and how long they took, what was sent and came back."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from hopline.http.attributes import (
    CONNECTION_REUSED,
    DNS_CACHE_HIT,
    PHASE_CONNECT,
    PHASE_DNS,
    PHASE_QUEUE,
    REQUEST_BODY_SIZE,
)
from hopline.http.series import Value

if TYPE_CHECKING:
    from aiohttp import ClientResponse


class Phase:
    """One phase, which may begin more than once."""

    __slots__ = ("_began", "_took")

    def __init__(self) -> None:
        self._began = 0
        self._took = 0

    def begin(self) -> None:
        """It begins."""
        self._began = perf_counter_ns()

    def end(self, at: int | None = None) -> int:
        """It ends, if it lasts.

        Args:
            at: when, in nanoseconds of the performance counter (default: now).

        Returns:
            The nanoseconds that it has lasted so far.
        """
        if self._began:
            self._took += (perf_counter_ns() if at is None else at) - self._began
            self._began = 0
        return self._took


class Progress:
    """One attempt, as far as it has come.

    What the signals tell is kept as it is, and becomes span attributes once, when the attempt is over. Most requests
    go through no more than one of the phases: what they do not set stands on the class.

    Attributes:
        queue: the wait for a free connection.
        connect: the making of one, looking up the host's name included.
        dns: the resolver's part in that.
        reused: whether the connection came from the pool.
        cache_hit: whether the connector knew the host's addresses.
        sent: the bytes of the request's body so far, before compression.
        response: the response, once its header is here.
        error: what came in place of the response's header.
        over: when either came, in nanoseconds of the performance counter.
    """

    queue: Phase | None = None
    connect: Phase | None = None
    dns: Phase | None = None
    reused: bool | None = None
    cache_hit: bool | None = None
    sent = 0
    response: ClientResponse | None = None
    error: BaseException | None = None
    over: int | None = None

    def wait(self) -> None:
        """No connection is free."""
        self.queue = _begun(self.queue)

    def wait_no_more(self) -> None:
        """A connection is free."""
        _end(self.queue)

    def make_connection(self) -> None:
        """A connection is being made."""
        self.connect = _begun(self.connect)

    def connection_made(self) -> None:
        """The connection is made, TLS included."""
        _end(self.connect)
        self.reused = False

    def reuse_connection(self) -> None:
        """A connection of the pool is used."""
        self.reused = True

    def resolve(self) -> None:
        """The resolver is asked."""
        self.dns = _begun(self.dns)

    def resolved(self) -> None:
        """The resolver has answered."""
        _end(self.dns)

    def find_in_cache(self) -> None:
        """The connector knows the addresses, or is about to, for a request before this one."""
        self.cache_hit = True

    def miss_in_cache(self) -> None:
        """The connector does not know the addresses."""
        self.cache_hit = False

    def break_off(self, error: BaseException) -> None:
        """``error`` came in place of the response's header; a phase that still lasts is cut off here.

        The first time counts, and the last error.
        """
        self.error = error
        if self.over is None:
            self.over = perf_counter_ns()
            for phase in (self.queue, self.connect, self.dns):
                _end(phase, self.over)

    def tell(self, details: dict[str, Value]) -> None:
        """Make span attributes of it; a phase that still lasts is cut off here.

        The response and the error go: the response refers to its exchange, and so to this, and referring back would
        keep a response that the application drops from being closed at once.

        Args:
            details: gets them.
        """
        self.response = self.error = None
        if self.queue is not None:
            details[PHASE_QUEUE] = self.queue.end() / 1e9
        if self.dns is not None or self.connect is not None:
            self._tell_connecting(details)
        if self.reused is not None:
            details[CONNECTION_REUSED] = self.reused
        if self.cache_hit is not None:
            details[DNS_CACHE_HIT] = self.cache_hit
        if self.sent:
            details[REQUEST_BODY_SIZE] = self.sent

    def _tell_connecting(self, details: dict[str, Value]) -> None:
        resolving = 0
        if self.dns is not None:
            resolving = self.dns.end()
            details[PHASE_DNS] = resolving / 1e9
        if self.connect is not None:
            # aiohttp resolves the name as part of connecting.
            details[PHASE_CONNECT] = max(0, self.connect.end() - resolving) / 1e9


def _begun(phase: Phase | None) -> Phase:
    phase = phase or Phase()
    phase.begin()
    return phase


def _end(phase: Phase | None, at: int | None = None) -> None:
    if phase is not None:
        phase.end(at)
