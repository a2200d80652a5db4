"""Real servers for integration tests, each on free loopback ports and in a folder of its own.

A server is a context manager; within it, it is ready. A test that needs one says so with
`@pytest.mark.server(name)`, the names are those of `PROGRAMS`. `.ci/servers` installs what is missing.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
SERVERS = Path(os.environ.get("HOPLINE_SERVERS") or REPOSITORY / ".tox" / "servers")
DEADLINE = 60.0

_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"


def _which(program: str) -> str | None:
    return shutil.which(program, path=_PATH)


def _statsd() -> str | None:
    if _which("node") is None:
        return "there is no Node"
    return None if (SERVERS / "node_modules/statsd/stats.js").exists() else "there is no npm package statsd"


def _rotel() -> str | None:
    return None if importlib.util.find_spec("rotel") else "there is no rotel for this platform"


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if _which(name) else f"there is no {name}"


PROGRAMS: Mapping[str, Callable[[], str | None]] = {
    "rotel": _rotel,
    "statsd": _statsd,
    "collectd": _program("collectd"),
    "carbon": _program("carbon-cache"),
    "redis": _program("redis-server"),
}
"""By the name of a server, what says why it cannot be started here, or None."""


def missing_program(name: str) -> str | None:
    """Return why a server cannot be started here, or None."""
    return PROGRAMS[name]()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Wait for a condition, and fail where it does not come true in time."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline:.0f} seconds"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Whether somebody accepts connections at a port of the loopback address."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Server:
    """A server process.

    Args:
        folder: An empty folder for its files.
    """

    name = "server"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Write the server's files and return its command line."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return dict(os.environ)

    def is_ready(self) -> bool:
        """Whether it can be talked to."""
        raise NotImplementedError

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, env=self.environment(), stdout=log, stderr=log
            )
        try:
            wait_until(lambda: self._has_ended() or self.is_ready(), f"{self.name} is ready")
            assert not self._has_ended(), f"{self.name} ended: {self.log.read_text(errors='replace')}"
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, by force if it does not go."""
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None


class Timer(NamedTuple):
    """What a server says of a timer."""

    count: float
    mean: float


class EtsyStatsd(Server):
    """The original statsd, on Node. It writes what it flushes to a file.

    Args:
        folder: An empty folder for its files.
        transport: `udp` or `tcp`.
        graphite: The port of a carbon that it sends to as well.
        flush_interval: Milliseconds from one flush to the next.
    """

    name = "statsd"

    def __init__(
        self, folder: Path, transport: str = "udp", graphite: int | None = None, flush_interval: int = 250
    ) -> None:
        super().__init__(folder)
        self.transport = transport
        self.port = free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.endpoint = f"{transport}://127.0.0.1:{self.port}"
        self._management_port = free_port()
        self._flushes = folder / "flushes.jsonl"
        self._graphite = graphite
        self._flush_interval = flush_interval

    def command(self) -> list[str]:
        backend = Path(__file__).parent / "integration" / "statsd_file_backend.js"
        config = {
            "servers": [{"server": f"./servers/{self.transport}", "address": "127.0.0.1", "port": self.port}],
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._management_port,
            "flushInterval": self._flush_interval,
            "deleteIdleStats": True,
            "backends": [str(backend), *(["./backends/graphite"] if self._graphite else [])],
            "file": str(self._flushes),
            "graphiteHost": "127.0.0.1",
            "graphitePort": self._graphite or 0,
            "graphite": {"legacyNamespace": False},
        }
        path = self.folder / "config.js"
        path.write_text(json.dumps(config))
        return [str(_which("node")), str(SERVERS / "node_modules/statsd/stats.js"), str(path)]

    def is_ready(self) -> bool:
        return self._flushes.exists() and accepts(self._management_port)

    def flushes(self) -> list[dict[str, dict[str, object]]]:
        """Return what it has flushed so far."""
        return [json.loads(line) for line in self._flushes.read_text().splitlines()]

    def timer(self, name: str) -> Timer:
        """Return its own count and mean of a timer, over all flushes."""
        data = [flush["timer_data"].get(name, {}) for flush in self.flushes()]
        count = sum(one.get("count", 0) for one in data)
        return Timer(count, sum(one.get("sum", 0) for one in data) / count if count else 0.0)

    def counter(self, name: str) -> float:
        """Return its total of a counter, over all flushes."""
        return sum(flush["counters"].get(name, 0) for flush in self.flushes())

    def latest(self, kind: str, name: str) -> object:
        """Return what a flush last said of a gauge or a set; None where none did."""
        said = [flush[kind][name] for flush in self.flushes() if name in flush[kind]]
        return said[-1] if said else None


class Collectd(Server):
    """collectd with its statsd and csv plugins."""

    name = "collectd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port(socket.SOCK_DGRAM)
        self.endpoint = f"udp://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        path = self.folder / "collectd.conf"
        path.write_text(
            f"""
            Hostname "here"
            FQDNLookup false
            BaseDir "{self.folder}"
            PIDFile "{self.folder}/pid"
            TypesDB "/usr/share/collectd/types.db"
            Interval 0.5
            LoadPlugin csv
            LoadPlugin statsd
            <Plugin csv>
                DataDir "{self.folder}/csv"
                StoreRates false
            </Plugin>
            <Plugin statsd>
                Host "127.0.0.1"
                Port "{self.port}"
                DeleteTimers false
                TimerCount true
                TimerSum true
            </Plugin>
            """
        )
        return [str(_which("collectd")), "-f", "-C", str(path)]

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"ready:1|c", ("127.0.0.1", self.port))
        return bool(self._values("derive-ready"))

    def timer(self, name: str) -> Timer:
        """Return its own count and mean (in ms) of a timer, over all intervals."""
        count = sum(self._values(f"gauge-{name}-count"))
        total = sum(self._values(f"latency-{name}-sum"))
        return Timer(count, 1000 * total / count if count else 0.0)

    def counter(self, name: str) -> float:
        """Return its total of a counter."""
        return max(self._values(f"derive-{name}"), default=0.0)

    def gauge(self, name: str) -> float | None:
        """Return the latest value of a gauge."""
        values = self._values(f"gauge-{name}")
        return values[-1] if values else None

    def _values(self, series: str) -> list[float]:
        values = []
        for path in sorted(glob.glob(f"{self.folder}/csv/here/statsd/{glob.escape(series)}-20*")):
            rows = Path(path).read_text().splitlines()[1:]
            values += [float(row.split(",")[1]) for row in rows if row.count(",") == 1 and row[-1:].isdigit()]
        return values


class Carbon(Server):
    """carbon-cache, which writes whisper files."""

    name = "carbon"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()

    def command(self) -> list[str]:
        (self.folder / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
        path = self.folder / "carbon.conf"
        path.write_text(
            f"""[cache]
STORAGE_DIR = {self.folder}
LOCAL_DATA_DIR = {self.folder}/whisper
CONF_DIR = {self.folder}
LOG_DIR = {self.folder}
PID_DIR = {self.folder}
USER =
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {self.port}
PICKLE_RECEIVER_PORT = 0
CACHE_QUERY_PORT = 0
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
ENABLE_TAGS = False
"""
        )
        return [str(_which("carbon-cache")), f"--config={path}", "--nodaemon", "start"]

    def is_ready(self) -> bool:
        return accepts(self.port)

    def values(self, name: str) -> list[float]:
        """Return the values of a series that are stored by now."""
        path = self.folder / "whisper" / f"{name.replace('.', '/')}.wsp"
        if not path.exists():
            return []
        command = [str(_which("whisper-fetch")), "--json", f"--from={int(time.time()) - 3000}", str(path)]
        fetched = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return [value for value in fetched["values"] if value is not None]


class Redis(Server):
    """Redis, which keeps everything in memory."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [str(_which("redis-server")), *listen, "--save", "", "--appendonly", "no"]

    def is_ready(self) -> bool:
        return accepts(self.port)
