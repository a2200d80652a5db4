"""The way from a line to the socket, for any number of threads and through forks, without ever waiting.

A line costs its thread one `list.extend`; the thread whose line fills the packet formats the packet and
gives it to the socket. Whatever may have to wait (a name to look up, a connection, a full socket) is left
to the background thread.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from hopline_statsd import forks
from hopline_statsd.config import StatsdConfig
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.exits import flush_when_child_exits
from hopline_statsd.flusher import Flusher, Unaided
from hopline_statsd.lines import DIALECTS
from hopline_statsd.link import Link
from hopline_statsd.packets import MAX_TAKEN, Entries, Packets
from hopline_statsd.stats import CLOSED, TOO_LONG, StatsdStats, Tally
from hopline_statsd.transport import Connection, PacketTooLong, transport_for

_FULL_SOCKET_DELAY = 0.02
_LOCK_TIMEOUT = 1.0
_OVERLOAD_TIMEOUT = 0.1

# Had only in a child that Python was not told of, by the thread that notices.
_beginning = threading.RLock()


class Sender:
    """Takes lines from any thread, and sends them in packets.

    Who is in a hurry adds lines without `put`: `entries += (line_format, value)`, then `relieve()` where
    `len(entries) > room[0]`.

    Args:
        config: Where to send to, and within which limits.
    """

    def __init__(self, config: StatsdConfig) -> None:
        self.entries: Entries = []
        self.room, self._room_is_wiped = forks.number_wiped_by_fork()
        self.tally = Tally()
        self._config = config
        self._link = self._new_link()
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
        self._may_start_thread = was_told
        del self.entries[: len(self.entries) - keep]
        self.room[0] = 0
        self.tally.begin_anew()
        # Reentrant, so that it knows its owner: one that does not have it cannot let go of it, and one that has
        # it may have been interrupted by a signal. Each place takes it within the `try` that lets go of it: the
        # handler of a signal may raise as soon as it is taken, and nobody would ever send again.
        self._lock: Any = threading.RLock()
        self._packets = Packets(self._config.packet_size, self._config.max_buffer_size, self.tally)
        self._link.transport.close()
        self._link = self._new_link()
        self._flusher: Flusher | Unaided | None = None
        self._pid = os.getpid()  # last: from here on other threads go on

    def _new_link(self) -> Link:
        endpoint = Endpoint.parse(self._config.endpoint)
        return Link(transport_for(endpoint, DIALECTS[self._config.dialect].is_framed), self.tally)

    def _begin_untold(self, keep: int) -> None:
        with _beginning:
            if self._pid != os.getpid():
                self.begin_anew(keep, was_told=False)

    def put(self, line_format: bytes, value: object) -> None:
        """Add one line.

        Args:
            line_format: A line format that takes one value.
            value: The value; bytes for `%s`.
        """
        entries = self.entries
        entries += (line_format, value)
        if len(entries) > self.room[0]:
            self.relieve()

    def relieve(self, added: int = 2) -> None:
        """Pack the lines that are there, and send one packet if one is full. Never waits.

        Args:
            added: How many entries the caller has just added.
        """
        if (self.room[0] == 0 or not self._room_is_wiped) and self._pid != os.getpid():
            self._begin_untold(added)
        lock, wake = self._lock, None
        if lock._is_owned():
            return
        try:
            if lock.acquire(False) or self._waited_for_lock():
                wake = self._pack()
            elif self.room[0] == 0 and self._flusher is not None:
                wake = self._flusher.work  # who has the lock may be looking at numbers only, and the next line far
        finally:
            try:  # noqa: SIM105  to call anything before would be to ask for a signal
                lock.release()
            except RuntimeError:  # somebody else has it
                pass
        if wake is not None:
            wake()

    def flush(self, timeout: float) -> bool:
        """Send whatever is there, also in a packet that is not full.

        Args:
            timeout: Seconds to wait at most for an address, a connection or room in the socket.

        Returns:
            Whether all of it was handed to the system.
        """
        if self._pid != os.getpid():
            self._begin_untold(0)
        deadline = monotonic() + timeout
        if self._send_all(timeout):
            return True
        with self._held(deadline - monotonic()) as is_held:
            if not is_held:
                return False
            flusher = self._flusher or self._start()
        return flusher.call(lambda: self._insist(deadline), deadline - monotonic())

    def close(self, timeout: float) -> None:
        """Flush, then close the socket. Lines that come later are dropped and counted."""
        if self._closed:
            return
        deadline = monotonic() + timeout
        self.flush(timeout)
        self._closed = True
        if self._flusher is not None:
            self._flusher.stop(max(0.0, deadline - monotonic()))
        with self._held(_LOCK_TIMEOUT) as is_held:
            if is_held:
                self._reject()
                self._link.transport.close()

    def stats(self) -> StatsdStats:
        """Return what this process has sent and dropped so far."""
        if self._pid != os.getpid():
            self._begin_untold(0)
        with self._held(_LOCK_TIMEOUT):
            packets = self._packets
            lines, sent_packets, sent_bytes = packets.sent_lines(), packets.sent_packets, packets.sent_bytes
            refusals = self._link.transport.refusals
        dropped, errors = self.tally.counts()
        if refusals:
            errors["ECONNREFUSED"] = errors.get("ECONNREFUSED", 0) + refusals
        return StatsdStats(lines, sent_packets, sent_bytes, dropped, errors)

    def _pack(self) -> Callable[[], None] | None:
        """Do what `relieve` is for; return what there is to call once the lock is free, if anything."""
        flusher = self._flusher or self._start()
        if self.room[0] == 0 and flusher.has_thread:
            flusher.work()  # before there is room, for a signal's exception may come in between
        packets = self._packets
        if packets.waiting:
            self._make_way()
        else:
            packets.take(self.entries)
            self.room[0] = packets.room if flusher.has_thread else 0
        is_clear = not packets.waiting or self._send(1)
        if self._closed:
            self._reject()
        if not flusher.has_thread:
            return flusher.work
        return None if is_clear else flusher.hurry

    def _make_way(self) -> None:
        """Leave the lines where they are, behind packets that wait; but not without a bound."""
        packets = self._packets
        if len(self.entries) > self._max_entries:
            self._send(sys.maxsize)
            packets.take(self.entries)  # where the socket is full, the oldest packets are dropped
        self.room[0] = len(self.entries) + packets.room

    def _waited_for_lock(self) -> bool:
        """Whether the lock was had after all.

        Mostly there is no need to wait: whoever has the lock takes this line along, or the next line does.
        Only where lines come faster than they are taken away do their threads wait for that to be done.
        """
        return len(self.entries) > self._max_entries and bool(self._lock.acquire(timeout=_OVERLOAD_TIMEOUT))

    @contextmanager
    def _held(self, timeout: float) -> Iterator[bool]:
        """Hold the lock, if it is to be had in time, and not held by this thread already, below a signal."""
        lock = self._lock
        if lock._is_owned():
            yield False
            return
        try:
            yield lock.acquire(timeout=max(0.0, timeout))
        finally:
            try:  # noqa: SIM105  as in `relieve`
                lock.release()
            except RuntimeError:
                pass

    def _start(self) -> Flusher | Unaided:
        self._flusher = self._start_flusher()
        flush_when_child_exits(self)
        return self._flusher

    def _start_flusher(self) -> Flusher | Unaided:
        if self._may_start_thread and not self._closed:
            try:
                flusher = Flusher(self._tick, self._push, self._config.flush_interval)
                flusher.start()
            except RuntimeError:  # the interpreter ends, or is one within a process that may have no such threads
                pass
            else:
                return flusher
        return Unaided(self._tick, self._config.flush_interval)

    def _reject(self) -> None:
        """Drop what comes after the end. No room, so that each line is looked at."""
        self._packets.drop_all(CLOSED)
        while self._packets.take(self.entries):
            self._packets.drop_all(CLOSED)
        self.room[0] = 0

    def _send(self, most: int) -> bool:
        """Send up to `most` whole packets; return whether nothing is in the way of the rest."""
        packets, link = self._packets, self._link
        waiting, transport = packets.waiting, link.transport
        while waiting and most:
            if transport.socket is None and not link.open_at_once():
                return False
            try:
                if not transport.send(waiting[0]):
                    return False
            except PacketTooLong:
                packets.drop(TOO_LONG)
            except OSError as error:
                link.broke(error)
                return False
            else:
                packets.sent()
                link.carried()
            most -= 1
        return not waiting

    def _send_all(self, timeout: float) -> bool:
        """Send all lines that are there, without waiting for the socket; return whether none is left."""
        with self._held(timeout) as is_held:
            if not is_held or not self._send(sys.maxsize):
                return False
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
        # A line that came too late to be packed, but too early to find no room, starts it here.
        if self.entries and self._flusher is not None:
            self._flusher.work()
        return True

    def _insist(self, deadline: float) -> bool:
        """Send all lines that are there, waiting for the socket until the deadline."""
        self._link.retry_now()
        while not self._send_all(_FULL_SOCKET_DELAY):
            if not self._link.connect(self._adopt) or monotonic() >= deadline:
                return False
            with self._held(_FULL_SOCKET_DELAY) as is_held:
                if is_held:
                    self._link.transport.wait_writable(_FULL_SOCKET_DELAY)
        return True

    def _tick(self) -> float | None:
        """Send what is there; return when to try again, or None."""
        self._link.connect(self._adopt)
        return None if self._send_all(_LOCK_TIMEOUT) else self._delay()

    def _push(self) -> float | None:
        """Send whole packets, and leave the one that fills up; return when to try again, or None."""
        self._link.connect(self._adopt)
        with self._held(_LOCK_TIMEOUT) as is_held:
            is_clear = is_held and self._send(sys.maxsize)
        return None if is_clear else self._delay()

    def _delay(self) -> float:
        return max(_FULL_SOCKET_DELAY, self._link.retry_delay_left())

    def _adopt(self, connection: Connection) -> bool:
        """Use a connection from now on; return whether there is still a use for it."""
        with self._held(_LOCK_TIMEOUT) as is_held:
            if is_held and not self._closed:
                self._link.transport.adopt(connection)
                return True
        connection.socket.close()
        return False
