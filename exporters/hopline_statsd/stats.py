"""What the exporter knows about itself: what went out, and what did not and why."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

_logger = logging.getLogger(__name__)

INVALID = "invalid"
"""The value is no number, not finite, negative where that means nothing, or beyond 1e15."""
TOO_LONG = "too_long"
"""One line is longer than a packet."""
BUFFER_FULL = "buffer_full"
"""The server did not take packets for so long that the buffer is full; the oldest packet went."""
CLOSED = "closed"
"""The client was closed before, or could not hand the line to the system before it closed."""
ERROR = "error"
"""A span or a metric that could not be turned into a line."""

_LOG_INTERVAL = 60.0


@dataclass(frozen=True)
class StatsdStats:
    """What a client has done since its process began.

    Attributes:
        lines: Lines handed to the system's socket.
        packets: The packets that they were in.
        bytes: Bytes of payload of these packets.
        dropped: Lines that were never sent, by reason: `invalid`, `too_long`, `buffer_full`, `closed`,
            `error`.
        errors: Errors of the socket, by name (`ECONNREFUSED`): what they lost, only the network knows.
    """

    lines: int
    packets: int
    bytes: int
    dropped: Mapping[str, int]
    errors: Mapping[str, int]


class Tally:
    """Counts what goes wrong for one client; what goes right is counted where it is sent."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from zero, in a forked child: what the parent did is the parent's."""
        # Reentrant: a signal handler may end a span while this very thread counts.
        self._lock = threading.RLock()
        self._dropped: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._logged = float("-inf")

    def dropped(self, reason: str, lines: int = 1) -> None:
        """Count lines that will never be sent, and say so at DEBUG at most once a minute."""
        with self._lock:
            self._dropped[reason] += lines
            now = monotonic()
            if now - self._logged < _LOG_INTERVAL:
                return
            self._logged = now
            total = dict(self._dropped)
        _logger.debug("statsd lines dropped so far, by reason: %s", total)

    def failed(self, error: str) -> None:
        """Count an error of the socket by its name."""
        with self._lock:
            self._errors[error] += 1

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the dropped lines by reason, and the errors by name, as they are now."""
        with self._lock:
            return dict(self._dropped), dict(self._errors)
