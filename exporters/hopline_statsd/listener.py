"""A small statsd server: it keeps and aggregates what arrives. For demo, watch and tests."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType

from hopline_statsd.aggregate import Series, Summary
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.parse import Sample, parse_line

_RECEIVE_BUFFER = 4 * 1024 * 1024
_LARGEST_READ = 65_536
_LONGEST_LINE = 1024 * 1024
_LENGTH = 4  # bytes that say how long a packet is, as Datadog's clients write it
_KEPT_PACKETS = 100_000
_MAX_SERIES = 10_000


class StatsdListener:
    """A statsd server on a thread of its own; a context manager.

    Args:
        endpoint: Where to listen; port 0 for a free one.

    Attributes:
        packets: The last 100,000 packets that arrived; of a stream, what was read at a time.
        bad_lines: Lines that are no statsd lines.
    """

    def __init__(self, endpoint: str = "udp://127.0.0.1:0") -> None:
        asked = endpoint if ":///" in endpoint else endpoint.removesuffix(":0")  # which may end a path
        self._asked = Endpoint.parse(asked)
        self._port = self._asked.port if asked == endpoint else 0
        self.packets: deque[bytes] = deque(maxlen=_KEPT_PACKETS)
        self.bad_lines = 0
        self._series: dict[object, Series] = {}
        self._lines = 0
        self._since = monotonic()
        self._changed = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="statsd-listener", daemon=True)

    def start(self) -> StatsdListener:
        """Listen; return the listener itself.

        Raises:
            OSError: The address cannot be listened at.
        """
        listening = self._bind()
        listening.setblocking(False)
        self._stop_receiver, self._stop_sender = socket.socketpair()
        accept = self._read_datagram if self._asked.is_datagram else self._accept
        self._selector.register(listening, selectors.EVENT_READ, accept)
        self._selector.register(self._stop_receiver, selectors.EVENT_READ, None)
        self._address = listening.getsockname()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Read what has arrived, then close all sockets."""
        self._stop_sender.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._stop_sender.close()
        if self._asked.path:
            os.unlink(self._asked.path)

    def __enter__(self) -> StatsdListener:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The URL that a client sends to."""
        port = 0 if self._asked.path else self._address[1]
        return str(Endpoint(self._asked.scheme, self._asked.host, port, self._asked.path))

    @property
    def port(self) -> int:
        """The port it listens on; 0 for a unix socket."""
        return 0 if self._asked.path else int(self._address[1])

    @property
    def lines(self) -> list[str]:
        """The lines that have arrived, in order."""
        with self._changed:
            return b"\n".join(self.packets).decode(errors="replace").split("\n") if self.packets else []

    def wait_for(self, lines: int, timeout: float = 10.0) -> bool:
        """Wait until that many lines have arrived in all.

        Args:
            lines: How many.
            timeout: Seconds to wait at most.

        Returns:
            Whether they have.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._lines >= lines, timeout)

    def summaries(self) -> list[Summary]:
        """Summarize each series, in the order of names."""
        with self._changed:
            seconds = monotonic() - self._since
            summaries = [series.summary(seconds) for series in self._series.values()]
        return sorted(summaries, key=lambda summary: (summary.name, sorted(summary.tags.items())))

    def _bind(self) -> socket.socket:
        asked = self._asked
        kind = socket.SOCK_DGRAM if asked.is_datagram else socket.SOCK_STREAM
        if asked.path:
            family, address = socket.AF_UNIX, asked.path
        else:
            wanted = socket.AF_INET6 if asked.scheme == "udp6" else socket.AF_UNSPEC
            found = socket.getaddrinfo(asked.host, self._port, wanted, kind, flags=socket.AI_PASSIVE)
            family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)  # type: ignore[assignment]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if not asked.is_datagram:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            if not asked.is_datagram:
                listening.listen()
        except OSError:
            listening.close()
            raise
        return listening

    def _run(self) -> None:
        is_stopping = False
        while True:
            events = self._selector.select(0 if is_stopping else None)
            ready = [key for key, _ in events if key.data is not None]
            if is_stopping and not ready:
                return
            is_stopping = is_stopping or len(ready) < len(events)
            for key in ready:
                key.data(key.fileobj)

    def _read_datagram(self, listening: socket.socket) -> None:
        try:
            while True:
                self._take(listening.recv(_LARGEST_READ))
        except BlockingIOError:
            return

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except OSError:  # the client has gone again, or there are too many
            return
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, _Stream(self._take, self._forget).read)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def _take(self, packet: bytes) -> None:
        samples = []
        bad = 0
        for line in packet.decode(errors="replace").split("\n"):
            try:
                samples.append(parse_line(line))
            except ValueError:  # noqa: PERF203  a bad line costs no other
                bad += 1
        with self._changed:
            self.packets.append(packet)
            self.bad_lines += bad
            self._lines += len(samples)
            for sample in samples:
                self._add(sample)
            self._changed.notify_all()

    def _add(self, sample: Sample) -> None:
        key = (sample.name, sample.type, tuple(sample.tags.items()))
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= _MAX_SERIES:
                return
            series = self._series[key] = Series(sample)
        series.add(sample)


class _Stream:
    """One connection of a stream: lines that end with a newline, or packets that follow their lengths.

    What is cut off by the end is forgotten.
    """

    def __init__(self, take: Callable[[bytes], None], forget: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._forget = forget
        self._rest = b""

    def read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_LARGEST_READ)
        except OSError:
            data = b""
        if not data:
            self._forget(connection)
            return
        self._rest += data
        if len(self._rest) >= _LENGTH:
            is_length = self._rest[_LENGTH - 1] == 0  # no line holds a 0
            (self._take_packets if is_length else self._take_lines)()
        if len(self._rest) > _LONGEST_LINE:
            self._forget(connection)

    def _take_lines(self) -> None:
        whole, newline, self._rest = self._rest.rpartition(b"\n")
        if newline:
            self._take(whole)

    def _take_packets(self) -> None:
        while len(self._rest) >= (end := _LENGTH + int.from_bytes(self._rest[:_LENGTH], "little")):
            self._take(self._rest[_LENGTH:end])
            self._rest = self._rest[end:]
