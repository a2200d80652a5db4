"""A statsd server that only counts: a process of its own, so that its work is not the sender's.

It reads in bursts, as a busy server does: it is not woken up for each packet, which would cost the sender
more than the packet.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from types import TracebackType

BURST_SECONDS = 0.005
RECEIVE_BUFFER = 8 * 1024 * 1024


class Sink:
    """A sink on a free UDP port of the loopback address; a context manager.

    Attributes:
        port: The port.
        lines: How many lines arrived, known when the context is left.
    """

    lines = -1

    def __enter__(self) -> Sink:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        out, _ = self._process.communicate(timeout=60)
        self.lines = int(out)


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        print(listening.getsockname()[1], flush=True)
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        lines = 0
        while True:
            is_last = ended.is_set()
            time.sleep(BURST_SECONDS)
            lines += drain(listening)
            if is_last:
                break
    print(lines)


def drain(listening: socket.socket) -> int:
    lines = 0
    try:
        while True:
            lines += listening.recv(65_536).count(b"\n") + 1
    except BlockingIOError:
        return lines


if __name__ == "__main__":
    main()
