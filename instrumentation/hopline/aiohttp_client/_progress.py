"""How far one attempt has come: which of its phases have begun, what was sent, and what came back."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from hopline.http.attributes import PHASE_CONNECT, PHASE_DNS, Value

if TYPE_CHECKING:
    from aiohttp import ClientResponse


class Progress:
    """One attempt, as far as it has come.

    Args:
        details: the attempt's span attributes, which get the phases.

    Attributes:
        details: the attempt's span attributes.
        sent: the bytes of the request's body so far, before compression.
        response: the response, once its header is here.
        error: what came in place of the response's header.
        over: when either came, in nanoseconds of the performance counter.
    """

    __slots__ = ("_running", "details", "error", "over", "response", "sent")

    def __init__(self, details: dict[str, Value]) -> None:
        self.details = details
        self.sent = 0
        self.response: ClientResponse | None = None
        self.error: BaseException | None = None
        self.over: int | None = None
        self._running: dict[str, int] = {}

    def begin(self, phase: str) -> None:
        """A phase begins; it may do so more than once."""
        self._running[phase] = perf_counter_ns()

    def end(self, phase: str) -> None:
        """A phase ends, if it has begun."""
        began = self._running.pop(phase, None)
        if began is None:
            return
        seconds = (perf_counter_ns() - began) / 1e9
        if phase == PHASE_CONNECT:  # aiohttp resolves the name as part of connecting
            seconds = max(0.0, seconds - self._known(PHASE_DNS))
        self.details[phase] = self._known(phase) + seconds

    def end_all(self) -> None:
        """The attempt is over, in whatever phase it is."""
        for phase in sorted(self._running, key=PHASE_CONNECT.__eq__):  # connecting last, for it holds the others
            self.end(phase)

    def set_over(self) -> None:
        """The response's header has come, or an error in its place."""
        self.over = perf_counter_ns()

    def forget(self) -> None:
        """The attempt has been told.

        The response refers to its exchange, and so to this: referring back would keep a response that the
        application drops from being closed at once.
        """
        self.response = self.error = None

    def _known(self, phase: str) -> float:
        return float(self.details.get(phase, 0.0))
