"""The way from a line to the socket, for any number of threads and through forks, without ever waiting.

A line costs its thread one `list.extend`; the thread whose line fills the packet formats the packet and
gives it to the socket. Whatever may have to wait (a name to look up, a connection, a full socket) is left
to the background thread.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time

from hopline_statsd import forks
from hopline_statsd.config import StatsdConfig
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.exits import flush_when_child_exits
from hopline_statsd.flusher import Flusher, Unaided
from hopline_statsd.packets import MAX_TAKEN, Entries, Packets
from hopline_statsd.stats import BUFFER_FULL, CLOSED, TOO_LONG, StatsdStats, Tally
from hopline_statsd.transport import PacketTooLong, transport_for

_CONNECT_TIMEOUT = 2.0
_LOOKUP_INTERVAL = 60.0
_FULL_SOCKET_DELAY = 0.02
_FIRST_RETRY = 0.1
_LAST_RETRY = 10.0
_LOCK_TIMEOUT = 1.0


class Sender:
    """Takes lines from any thread, and sends them in packets.

    Who is in a hurry adds lines without `put`: `entries += (template, value)`, then `relieve()` where
    `len(entries) > room[0]`.

    Args:
        config: Where to send to, and within which limits.
    """

    def __init__(self, config: StatsdConfig) -> None:
        self.entries: Entries = []
        self.room, self._room_is_wiped = forks.number_wiped_by_fork()
        self.tally = Tally()
        self._config = config
        self._transport = transport_for(Endpoint.parse(config.endpoint))
        self._closed = False
        self._max_entries = max(4 * MAX_TAKEN, config.max_buffer_size // 16)
        self.begin_anew()
        forks.watch(self)

    def begin_anew(self, keep: int = 0, was_told: bool = True) -> None:
        """Start as an empty sender, in a forked child: the parent sends what the child has a copy of.

        Args:
            keep: How many of the last entries are the child's own.
            was_told: Whether Python was told of the fork, and so took care of its own locks. Where it was
                not, a thread may never get to run.
        """
        self._pid = os.getpid()
        self._may_start_thread = was_told
        del self.entries[: len(self.entries) - keep]
        self.room[0] = 0
        self.tally.begin_anew()
        self._lock = threading.Lock()
        self._packets = Packets(self._config.packet_size, self._config.max_buffer_size, self.tally)
        self._transport.close()
        self._transport = transport_for(Endpoint.parse(self._config.endpoint))
        self._retry_delay, self._retry_at, self._lookup_at = 0.0, 0.0, 0.0
        self._flusher: Flusher | Unaided | None = None

    def put(self, template: bytes, value: object) -> None:
        """Add one line.

        Args:
            template: A template that takes one value.
            value: The value; bytes for `%s`.
        """
        entries = self.entries
        entries += (template, value)
        if len(entries) > self.room[0]:
            self.relieve()

    def relieve(self, added: int = 2) -> None:
        """Pack the lines that are there, and send one packet if one is full. Never waits.

        Args:
            added: How many entries the caller has just added.
        """
        if (self.room[0] == 0 or not self._room_is_wiped) and self._pid != os.getpid():
            self.begin_anew(added, was_told=False)
        flusher = self._flusher or self._start()
        # Whoever has the lock takes this line along, or the next line does. It may be this thread, in a
        # signal handler.
        if not self._lock.acquire(False):
            if len(self.entries) > self._max_entries:
                self._shed(added)
            return
        try:
            was_idle = self.room[0] == 0
            packets = self._packets
            packets.take(self.entries)
            self.room[0] = packets.room if flusher.is_aided else 0
            is_clear = not packets.waiting or self._send(1)
            if self._closed:
                self._reject()
        finally:
            self._lock.release()
        if not is_clear:
            flusher.hurry()
        elif was_idle:
            flusher.work()

    def flush(self, timeout: float) -> bool:
        """Send whatever is there, also in a packet that is not full.

        Args:
            timeout: Seconds to wait at most for an address, a connection or room in the socket.

        Returns:
            Whether all of it was handed to the system.
        """
        if self._pid != os.getpid():
            self.begin_anew(was_told=False)
        deadline = time.monotonic() + timeout
        if self._send_all(timeout):
            return True
        flusher = self._flusher or self._start()
        return flusher.call(lambda: self._insist(deadline), timeout)

    def close(self, timeout: float) -> None:
        """Flush, then close the socket. Lines that come later are dropped and counted."""
        if self._closed:
            return
        self.flush(timeout)
        self._closed = True
        if self._flusher is not None:
            self._flusher.stop(timeout)
        with self._lock:
            self._reject()
            self._transport.close()

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        with self._lock:
            packets = self._packets
            lines, sent_packets, sent_bytes = packets.sent_lines(), packets.sent_packets, packets.sent_bytes
        dropped, errors = self.tally.counts()
        return StatsdStats(lines, sent_packets, sent_bytes, dropped, errors)

    def _start(self) -> Flusher | Unaided:
        self._flusher = self._start_flusher()
        flush_when_child_exits(self)
        return self._flusher

    def _start_flusher(self) -> Flusher | Unaided:
        if self._may_start_thread and not self._closed:
            flusher = Flusher(self._tick, self._config.flush_interval)
            try:
                flusher.start()
            except RuntimeError:  # the interpreter ends
                pass
            else:
                return flusher
        return Unaided(self._tick, self._config.flush_interval)

    def _shed(self, added: int) -> None:
        """Drop the latest lines: threads add them faster than the one that has the lock takes them away.

        Far more than `MAX_TAKEN` entries are there, so this end of the list is nobody else's.
        """
        del self.entries[-added:]
        self.tally.dropped(BUFFER_FULL, added // 2)

    def _reject(self) -> None:
        """Drop what comes after the end. No room, so that each line is looked at."""
        while self._packets.take(self.entries):
            self._packets.drop_all(CLOSED)
        self._packets.drop_all(CLOSED)
        self.room[0] = 0

    def _send(self, most: int) -> bool:
        """Send up to `most` whole packets; return whether nothing is in the way of the rest."""
        packets, transport = self._packets, self._transport
        waiting = packets.waiting
        while waiting and most:
            if transport.socket is None and not self._open_at_once():
                return False
            try:
                if not transport.send(waiting[0]):
                    return False
            except PacketTooLong:
                packets.drop(TOO_LONG)
            except OSError as error:
                transport.close()
                self._failed(error)
                return False
            else:
                packets.sent()
                self._retry_delay = 0.0
            most -= 1
        return not waiting

    def _send_all(self, timeout: float) -> bool:
        """Send all lines that are there, without waiting for the socket; return whether none is left."""
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            left = len(self.entries)
            while True:
                left -= self._packets.take(self.entries)
                if left <= 0:
                    self._packets.close_open()
                if not self._send(sys.maxsize):
                    return False
                if left <= 0:
                    break
            # The next line finds no room, and so starts the clock of the flusher.
            self.room[0] = 0
        finally:
            self._lock.release()
        # A line that came too late to be packed, but too early to find no room, starts it here.
        if self.entries and self._flusher is not None:
            self._flusher.work()
        return True

    def _insist(self, deadline: float) -> bool:
        """Send all lines that are there, waiting for the socket until the deadline."""
        self._retry_at = 0.0
        while not self._send_all(_FULL_SOCKET_DELAY):
            if not self._connect() or time.monotonic() >= deadline:
                return False
            with self._lock:
                self._transport.wait_writable(_FULL_SOCKET_DELAY)
        return True

    def _tick(self) -> float | None:
        self._connect()
        if self._send_all(_LOCK_TIMEOUT):
            return None
        return max(_FULL_SOCKET_DELAY, self._retry_at - time.monotonic())

    def _connect(self) -> bool:
        """Connect where that is due; return whether there is a connection. For a thread that may wait."""
        now, transport = time.monotonic(), self._transport
        is_settled = transport.socket is not None and (now < self._lookup_at or not transport.needs_lookup)
        if is_settled or now < self._retry_at:
            return transport.socket is not None
        self._lookup_at = now + _LOOKUP_INTERVAL
        try:
            connection = transport.connect(transport.resolve(), _CONNECT_TIMEOUT)
        except OSError as error:
            self._failed(error)
            return transport.socket is not None
        if connection is not None:
            with self._lock:
                transport.adopt(connection)
        return True

    def _open_at_once(self) -> bool:
        if not self._transport.opens_at_once or time.monotonic() < self._retry_at:
            return False
        try:
            connection = self._transport.connect(self._transport.resolve(), 0.0)
        except OSError as error:
            self._failed(error)
            return False
        if connection is not None:
            self._transport.adopt(connection)
        return True

    def _failed(self, error: OSError) -> None:
        """Count an error; wait before the next try, longer each time, but not after the first."""
        self.tally.failed(errno.errorcode.get(error.errno or 0, type(error).__name__))
        self._retry_at = time.monotonic() + self._retry_delay
        self._retry_delay = min(_LAST_RETRY, max(_FIRST_RETRY, 2 * self._retry_delay))
