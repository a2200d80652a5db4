"""Lines become packets: filled up to the limit, no line ever torn, bounded while the server takes none."""

from __future__ import annotations

from collections import deque
from typing import Any

from hopline_statsd.lines import PAIR
from hopline_statsd.stats import BUFFER_FULL, INVALID, TOO_LONG, Tally

Entries = list[Any]
"""Line formats and values by turns: `[line_format, value, line_format, value, …]`.

Formats are bytes, and so are the values of a `%s`. One flat list, extended by a pair at a time:
`list.extend` is atomic, so that threads need no lock to add a line, and all values of a packet are
formatted by one `%`, at half the cost of formatting them one by one.
"""


MAX_TAKEN = 4096
"""Entries that are formatted at a time."""


class Packets:
    """Formatted lines, in order: whole packets that wait to be sent, and the one that fills up.

    Not thread-safe: the sender's lock guards it, but for the list that lines are taken from.

    Args:
        max_packet: Bytes of a packet at most.
        max_waiting: Bytes of whole packets kept at most.
        tally: Where drops are counted.

    Attributes:
        waiting: Whole packets, the oldest first; the sender looks, and removes with `sent` and `drop`.
        room: An estimate of how many entries (two for each line) still fit into the packet that fills up;
            never 0.
        sent_packets: How many packets were sent.
        sent_bytes: And their bytes.
    """

    def __init__(self, max_packet: int, max_waiting: int, tally: Tally) -> None:
        self.room = 1
        self.sent_packets = 0
        self.sent_bytes = 0
        self._max_packet = max_packet
        self._max_waiting = max_waiting
        self._tally = tally
        self.waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._open = b""
        self._taken_lines = 0
        self._lost_lines = 0

    def take(self, entries: Entries) -> int:
        """Move entries into the packet that fills up, and close it when it is full.

        Args:
            entries: The list that threads add to; what they add meanwhile is left for the next time.

        Returns:
            How many were moved: all, but at most 4,096.
        """
        count = min(len(entries), MAX_TAKEN)
        if not count:
            return 0
        line_formats, values = entries[:count:2], tuple(entries[1:count:2])
        joined = b"\n".join(line_formats)
        del entries[:count]
        try:
            text = joined % values  # no call, so that no handler of a signal runs in between
        except Exception:  # noqa: BLE001  a value that only pretends to be a number must not cost the others
            text = self._format_one_by_one(line_formats, values)
        self._taken_lines += count >> 1
        size = len(text) + 1
        if self._open:
            text = b"".join((self._open, b"\n", text))
        if len(text) > self._max_packet:
            text = self._cut(text)
        self._open = text
        self.room = (self._max_packet - len(text)) * count // size | 1
        return count

    def close_open(self) -> None:
        """Close the packet that fills up, however little is in it."""
        if self._open:
            self._enqueue(self._open)
            self._open = b""

    def sent(self) -> None:
        """Remove the oldest whole packet: the system has it."""
        size = len(self.waiting.popleft())
        self._waiting_bytes -= size
        self.sent_packets += 1
        self.sent_bytes += size

    def drop(self, reason: str, index: int = 0) -> None:
        """Drop and count a whole packet.

        Args:
            reason: Why.
            index: Which one; 0 is the oldest.
        """
        packet = self.waiting[index]
        del self.waiting[index]
        self._waiting_bytes -= len(packet)
        self._lose(reason, packet.count(b"\n") + 1)

    def drop_all(self, reason: str) -> None:
        """Drop and count whatever is left."""
        while self.waiting:
            self.drop(reason)
        self.close_open()
        if self.waiting:
            self.drop(reason)

    def sent_lines(self) -> int:
        """Count the lines that were sent: those that are neither dropped nor still here."""
        here = sum(packet.count(b"\n") + 1 for packet in self.waiting)
        if self._open:
            here += self._open.count(b"\n") + 1
        return self._taken_lines - self._lost_lines - here

    def _lose(self, reason: str, lines: int) -> None:
        self._lost_lines += lines
        self._tally.dropped(reason, lines)

    def _format_one_by_one(self, line_formats: list[bytes], values: tuple[object, ...]) -> bytes:
        pairs = zip(line_formats, values, strict=True)
        return b"\n".join(line for line_format, value in pairs if (line := self._format_one(line_format, value)))

    def _format_one(self, line_format: bytes, value: object) -> bytes | None:
        try:
            return line_format % value
        except Exception:  # noqa: BLE001  see take
            self._lose(INVALID, 1)
            return None

    def _cut(self, text: bytes) -> bytes:
        """Close as many packets as `text` fills, and return what is left."""
        start, limit = 0, self._max_packet
        while len(text) - start > limit:
            end = text.rfind(b"\n", start, start + limit + 1)
            if end > start:
                self._enqueue(text[start:end])
            else:
                end = text.find(b"\n", start)
                end = len(text) if end < 0 else end
                self._lose(TOO_LONG, 1)
            start = end + 1
        return text[start:]

    def _enqueue(self, text: bytes) -> None:
        packet = text.replace(PAIR, b"\n")
        if packet is not text:
            self._taken_lines += text.count(PAIR)
        self.waiting.append(packet)
        self._waiting_bytes += len(packet)
        # The very oldest stays: a byte stream may have taken half of it already.
        while self._waiting_bytes > self._max_waiting and len(self.waiting) > 2:
            self.drop(BUFFER_FULL, 1)
