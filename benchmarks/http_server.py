"""A server on loopback that answers every request alike, in a process of its own: its CPU time does not count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = """
import asyncio, sys
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nContent-Type: text/plain\\r\\n\\r\\n" % int(sys.argv[1])
answer += b"x" * int(sys.argv[1])
class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        if data.endswith(b"\\r\\n\\r\\n"):
            self.transport.write(answer)
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@contextmanager
def serving(body: int = 128) -> Iterator[str]:
    """Serve until the block ends; gives the URL of something that has a body of so many bytes."""
    command = [sys.executable, "-c", SERVER, str(body)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/users/17?page=2"
        finally:
            process.terminate()
