"""When to connect a transport, when to look its server's name up again, and when to try again after an error."""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import monotonic

from hopline_statsd.stats import Tally
from hopline_statsd.transport import Connection, Transport

_CONNECT_TIMEOUT = 2.0
_LOOKUP_INTERVAL = 60.0
_REFUSED_LOOKUP_INTERVAL = 1.0
_FIRST_RETRY = 0.1
_LAST_RETRY = 10.0


class Link:
    """A transport that is kept connected. The sender's lock guards it, but for `connect`, which may wait.

    Args:
        transport: The transport, not connected yet.
        tally: Where errors are counted.
    """

    def __init__(self, transport: Transport, tally: Tally) -> None:
        self.transport = transport
        self._tally = tally
        self._retry_delay, self._retry_at = 0.0, 0.0
        self._looked_up_at, self._refusals = float("-inf"), 0

    def connect(self, adopt: Callable[[Connection], bool]) -> bool:
        """Connect where that is due; return whether there is a connection. For a thread that may wait.

        Args:
            adopt: Takes a new connection, with the lock held; returns whether it did.
        """
        now, transport = monotonic(), self.transport
        is_settled = transport.socket is not None and not self._lookup_is_due(now)
        if is_settled or now < self._retry_at:
            return transport.socket is not None
        self._looked_up_at, self._refusals = now, transport.refusals
        return self._connect(_CONNECT_TIMEOUT, adopt)

    def open_at_once(self) -> bool:
        """Connect where that takes no time and is due; return whether there is a connection."""
        if not self.transport.opens_at_once or monotonic() < self._retry_at:
            return False
        return self._connect(0.0, self._adopt)

    def carried(self) -> None:
        """Note that it has carried a packet: the next error is a first one."""
        self._retry_delay = 0.0

    def broke(self, error: OSError) -> None:
        """Close the connection, which is of no more use, and count the error."""
        self.transport.close()
        self._failed(error)

    def retry_now(self) -> None:
        """Have the next try not wait."""
        self._retry_at = 0.0

    def retry_delay_left(self) -> float:
        """Return the seconds until the next try is due."""
        return max(0.0, self._retry_at - monotonic())

    def _connect(self, timeout: float, adopt: Callable[[Connection], bool]) -> bool:
        try:
            connection = self.transport.connect(self.transport.resolve(), timeout)
        except OSError as error:
            self._failed(error)
            return self.transport.socket is not None
        return connection is None or adopt(connection)

    def _adopt(self, connection: Connection) -> bool:
        self.transport.adopt(connection)
        return True

    def _lookup_is_due(self, now: float) -> bool:
        """Whether the server may be elsewhere by now: because of the time, or nobody listens where it was."""
        was_refused = self.transport.refusals > self._refusals
        interval = _REFUSED_LOOKUP_INTERVAL if was_refused else _LOOKUP_INTERVAL
        return self.transport.needs_lookup and now - self._looked_up_at >= interval

    def _failed(self, error: OSError) -> None:
        """Count an error; wait before the next try, longer each time, but not after the first."""
        self._tally.failed(errno.errorcode.get(error.errno or 0, type(error).__name__))
        self._retry_at = monotonic() + self._retry_delay
        self._retry_delay = min(_LAST_RETRY, max(_FIRST_RETRY, 2 * self._retry_delay))
