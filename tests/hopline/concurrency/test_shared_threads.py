"""Threads that the first who needs them starts, and that then work for others too."""

import asyncio
import logging
import multiprocessing
from contextvars import ContextVar, copy_context
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from threading import Event, Thread, Timer

import aiosqlite
import anyio.to_thread
import pytest

from hopline import Context
from hopline.context import begin

pytestmark = pytest.mark.usefixtures("instrumented")

variable = ContextVar("variable", default="default")


def during_request(name, function):
    """What `function` returns in a request of its own."""

    def run():
        with begin(name):
            return function()

    return copy_context().run(run)


def test_what_pickles_for_a_queue_of_processes_has_nothing_of_who_first_put_something_in():
    seen = []

    class Message:
        def __reduce__(self):
            seen.append(Context.request_id)
            return (int, ())

    queue = multiprocessing.Queue()
    for name in ("first", "second"):
        during_request(name, lambda: queue.put(Message()))
        queue.get(timeout=10)
    queue.close()
    queue.join_thread()

    assert seen == [None, None]


def test_a_listener_of_logs_has_nothing_of_who_starts_it():
    seen = []

    class Seeing(logging.Handler):
        def emit(self, record):
            seen.append(Context.request_id)

    queue = SimpleQueue()
    listener = QueueListener(queue, Seeing())
    during_request("first", listener.start)
    during_request("second", lambda: QueueHandler(queue).handle(logging.makeLogRecord({})))
    listener.stop()

    assert seen == [None]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_s_threads_keep_nothing_alive_of_who_first_needed_one(backend):
    let_go = Event()

    class Value:
        def __del__(self):
            let_go.set()

    async def request():
        variable.set(Value())
        await anyio.to_thread.run_sync(bool)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(request)
        await anyio.to_thread.run_sync(bool)
        return let_go.is_set()

    assert anyio.run(main, backend=backend)


def test_a_connection_of_aiosqlite_s_works_for_each_of_those_who_share_it():
    seen = []

    async def main():
        async with aiosqlite.connect(":memory:") as connection:
            await connection.create_function("see", 0, lambda: seen.append(Context.request_id))
            for name in ("first", "second"):
                with begin(name):
                    await connection.execute("SELECT see()")

    with begin("opening"):
        asyncio.run(main())

    assert seen == ["first", "second"]


@pytest.mark.parametrize(
    "module",
    [
        "apscheduler.schedulers.background",
        "dramatiq.worker",
        "elasticapm.transport.base",
        "honeybadger.events_worker",
        "huey.consumer",
        "newrelic.core.agent",
        "pebble.pool.process",
        "pebble.pool.thread",
        "psycopg_pool.pool",
        "pymongo.periodic_executor",
        "scout_apm.core.agent.socket",
        "sentry_sdk.worker",
    ],
)
@pytest.mark.parametrize(
    "make", [lambda work: Thread(target=work), lambda work: Timer(0, work)], ids=["thread", "timer"]
)
def test_a_library_s_thread_for_all_has_nothing_of_who_starts_it(module, make):
    seen = []

    def work():
        seen.append(Context.request_id)

    work.__module__ = module
    thread = make(work)
    with begin("abc"):
        thread.start()
    thread.join()

    assert seen == [None]
