import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter

import pytest

from hopline_statsd import StatsdClient, StatsdConfig, forks
from hopline_statsd.listener import StatsdListener
from tests.servers import wait_until

pytestmark = pytest.mark.processes

DEADLINE = 60.0
PROGRAMS = "tests.hopline_statsd.programs"


def environment(listener, **more):
    return {**os.environ, "OTEL_EXPORTER_STATSD_ENDPOINT": listener.endpoint, **more}


def run_with_forks(listener, *arguments, stdout=None, **more):
    """Run Python until it ends well, without its warning of forks among threads."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", *arguments],
        env=environment(listener, **more),
        check=True,
        timeout=DEADLINE,
        stdout=stdout,
    )


@pytest.fixture(params=["udp", "tcp"])
def any_listener(request):
    with StatsdListener(f"{request.param}://127.0.0.1:0") as listener:
        yield listener


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("how", ["fork", "c", "multiprocessing-fork", "multiprocessing-spawn"])
def test_forked_children_send_their_own_lines_and_no_line_is_sent_twice(any_listener, how):
    if how == "c" and not forks.number_wiped_by_fork()[1]:
        pytest.skip("the system cannot wipe memory in a child")

    run_with_forks(any_listener, "-m", f"{PROGRAMS}.forking", how)

    expected = {
        "app.sent.before:1|c",
        *(f"app.waiting.{number}:1|c" for number in range(10)),
        *(f"app.child{index}.{number}:1|c" for index in range(3) for number in range(100)),
        "app.sent.after:1|c",
    }
    any_listener.wait_for(len(expected))
    assert Counter(any_listener.lines) == Counter(expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("how", ["fork", "c"])
def test_what_a_child_adds_to_the_exporters_own_counts_is_what_it_has_done(listener, how):
    if how == "c" and not forks.number_wiped_by_fork()[1]:
        pytest.skip("the system cannot wipe memory in a child")

    finished = run_with_forks(listener, "-m", f"{PROGRAMS}.forked_counts", how, stdout=subprocess.PIPE)

    parent, child_before, child = (json.loads(line) for line in finished.stdout.splitlines())
    assert (parent, child_before, child) == ([[100], [10]], [[0], [0]], [[3], [2]])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_that_is_killed_while_it_ends_has_sent_its_lines_and_one_that_is_not_those_made_at_its_end(listener):
    program = (
        "import multiprocessing, os\n"
        "from multiprocessing.util import Finalize\n"
        "from tests.hopline_statsd.programs.forking import make_client\n"
        "client = make_client()\n"
        "def work(name, end):\n"
        "    client.increment(name)\n"
        "    Finalize(None, end, (), exitpriority=100)\n"
        "context = multiprocessing.get_context('fork')\n"
        "for child in (\n"
        "    context.Process(target=work, args=('killed', lambda: os._exit(1))),\n"
        "    context.Process(target=work, args=('ended', lambda: client.increment('ending'))),\n"
        "):\n"
        "    child.start()\n"
        "    child.join()\n"
    )
    run_with_forks(listener, "-c", program)

    listener.wait_for(3)
    assert sorted(listener.lines) == ["app.ended:1|c", "app.ending:1|c", "app.killed:1|c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_goes_on_though_another_thread_was_making_a_name_at_the_fork(listener):
    program = (
        "import os, threading\n"
        "from hopline_statsd import StatsdSpanProcessor\n"
        "from tests.hopline_statsd.spans import CALL, end_span\n"
        "processor = StatsdSpanProcessor()\n"
        "held, go = threading.Event(), threading.Event()\n"
        "def make_a_name():\n"
        "    with processor._budget._lock:\n"
        "        held.set(); go.wait()\n"
        "threading.Thread(target=make_a_name).start()\n"
        "held.wait()\n"
        "child = os.fork()\n"
        "end_span(processor, CALL) if child == 0 else os.waitpid(child, 0)\n"
        "processor.force_flush() and child == 0 and os._exit(0)\n"
        "go.set()\n"
    )

    run_with_forks(listener, "-c", program, OTEL_EXPORTER_STATSD_PREFIX="app")

    assert listener.wait_for(1)
    assert listener.lines == ["app.requests.somehost-com.POST.200:12.500|ms"]


def test_sending_imports_nothing_as_a_child_that_is_forked_meanwhile_would_wait_for_ever(listener):
    program = (
        "import sys\n"
        "from hopline_statsd import StatsdClient\n"
        "client = StatsdClient()\n"
        "before = set(sys.modules)\n"
        "client.increment('first')\n"
        "client.close()\n"
        "sys.exit(' '.join(set(sys.modules) - before))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(listener),
        check=False,
        timeout=DEADLINE,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert finished.stderr.strip() == ""
    assert listener.wait_for(1)


def test_where_memory_cannot_be_wiped_the_process_id_is_looked_at(monkeypatch, listener):
    monkeypatch.setattr(forks.sys, "platform", "elsewhere")
    client = StatsdClient(StatsdConfig(endpoint=listener.endpoint, prefix="p"))
    monkeypatch.undo()
    client.increment("parent")
    client._sender._flusher.stop(DEADLINE)  # a child would not have this thread

    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    while not client.stats().lines:
        client.increment("child")
    client.flush()

    listener.wait_for(client.stats().lines)
    assert set(listener.lines) == {"p.child:1|c"}
    client.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(path, url):
    connection = UnixConnection(path)
    try:
        connection.request("GET", url)
        return connection.getresponse().status
    finally:
        connection.close()


def answers(path):
    try:
        return get(path, "/up") == 200
    except OSError:
        return False


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn_workers_send_each_line_once_and_lose_none_at_sigterm(listener, tmp_path, preload):
    path = f"{tmp_path}/web"
    command = [sys.executable, "-m", "gunicorn", f"{PROGRAMS}.wsgi_app", "--bind", f"unix:{path}"]
    command += ["--workers", "2", "--log-level", "warning", *(["--preload"] * preload)]
    env = environment(listener, HOME=str(tmp_path))  # where it keeps a socket to control it by
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: server.poll() is not None or answers(path), "the server answers", DEADLINE)
        for number in range(40):
            assert get(path, f"/r{number}") == 200
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=DEADLINE)
    finally:
        server.kill()
        server.wait()

    assert server.returncode == 0, errors
    loaded = 1 if preload else 2
    listener.wait_for(40 + loaded + 1)
    counts = Counter(listener.lines)
    assert {line: counts[line] for line in counts if "request.r" in line} == {
        f"app.request.r{number}:1|c": 1 for number in range(40)
    }
    assert counts["app.loaded:1|c"] == loaded
    assert counts["app.request.up:1|c"] >= 1


def test_celery_prefork_children_send_each_line_once_and_lose_none_at_the_end(listener, tmp_path):
    (tmp_path / "control").mkdir()
    env = environment(listener, CELERY_FOLDER=str(tmp_path))
    module = f"{PROGRAMS}.celery_app"
    send = f"from {module} import work\nfor number in range(40): work.delay(number)"
    worker = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        module,
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "2",
    ]
    quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    server = subprocess.Popen([*worker, *quiet], env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        subprocess.run([sys.executable, "-c", send], env=env, check=True, timeout=DEADLINE)
        results = lambda: list(tmp_path.glob("celery-task-meta-*"))  # noqa: E731
        wait_until(lambda: server.poll() is not None or len(results()) == 40, "the tasks are done", DEADLINE)
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=DEADLINE)
    finally:
        server.kill()
        server.wait()

    assert len(results()) == 40, errors
    listener.wait_for(40 + 2)
    counts = Counter(listener.lines)
    assert {line: counts[line] for line in counts if ".task." in line} == {
        f"app.task.{number}:1|c": 1 for number in range(40)
    }
    assert counts["app.loaded:1|c"] == 2  # the worker's and the sending process's


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_lose_no_line(any_listener, library):
    settings = {"OTEL_EXPORTER_STATSD_PREFIX": "app", "OTEL_EXPORTER_STATSD_FLUSH_INTERVAL": "50"}

    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", f"{PROGRAMS}.green", library],
        env=environment(any_listener, **settings),
        check=True,
        timeout=DEADLINE,
    )

    assert any_listener.wait_for(5002)
    expected = ["app.quiet:1|c", *(f"app.t:{number}.000|ms" for number in range(5000)), "app.last:1|c"]
    assert any_listener.lines == expected


def test_a_line_sent_at_the_very_end_of_the_interpreter_arrives(listener):
    program = (
        "import atexit, os\n"
        "from hopline_statsd import StatsdClient\n"
        "atexit.register(lambda: client.increment('at.exit'))\n"
        "client = StatsdClient()\n"
        "atexit.register(lambda: client.increment('before.exit'))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=environment(listener, OTEL_EXPORTER_STATSD_PREFIX="app"),
        check=True,
        timeout=DEADLINE,
    )

    assert listener.wait_for(1)
    assert listener.lines == ["app.before.exit:1|c"]
