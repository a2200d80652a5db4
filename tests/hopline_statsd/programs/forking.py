"""Forks in several ways, with lines waiting in the parent, and sends more from both sides.

The children of `c` are forked behind Python's back, as uWSGI does: nothing that was registered for forks is
run.
"""

import ctypes
import multiprocessing
import os
import sys
import time

from hopline_statsd import StatsdClient, StatsdConfig, StatsdSpanProcessor


def make_client() -> StatsdClient:
    return StatsdClient(
        StatsdConfig(endpoint=os.environ["OTEL_EXPORTER_STATSD_ENDPOINT"], prefix="app", flush_interval=600)
    )


def child_lines(client: StatsdClient, name: str) -> None:
    for number in range(100):
        client.increment(f"{name}.{number}")


def work(client: StatsdClient | None, name: str) -> None:
    child_lines(client or make_client(), name)
    assert client is None or client.stats().lines < 100


def fork_with(fork, client: StatsdClient, name: str) -> int:
    pid = fork()
    if pid:
        return pid
    try:
        child_lines(client, name)
        assert client.flush()
    finally:
        os._exit(0 if client.stats().lines == 100 else 1)


def let_the_background_thread_sleep(sending: StatsdClient | StatsdSpanProcessor) -> None:
    """A fork behind Python's back, while a thread asks for the interpreter's lock, can leave that lock torn."""
    flusher = sending._sender._flusher
    assert flusher is not None
    assert flusher.call(lambda: True, 10.0)
    time.sleep(0.1)


def main(how: str) -> None:
    client = make_client()
    client.increment("sent.before")
    client.flush()
    for number in range(10):
        client.increment(f"waiting.{number}")
    if how == "c":
        let_the_background_thread_sleep(client)
    if how in ("fork", "c"):
        fork = os.fork if how == "fork" else ctypes.PyDLL(None).fork
        pids = [fork_with(fork, client, f"child{index}") for index in range(3)]
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    else:
        context = multiprocessing.get_context(how.partition("-")[2])
        inherited = client if how == "multiprocessing-fork" else None
        children = [context.Process(target=work, args=(inherited, f"child{index}")) for index in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0
    client.increment("sent.after")


if __name__ == "__main__":
    main(sys.argv[1])
