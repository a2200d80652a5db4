"""Threads and pools of threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context
from threading import Thread
from types import MethodType
from typing import Any
from weakref import WeakSet

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline.concurrency._carry import InCopies, alone, call_in_copy, carried, run_in, submit_in_copy

# Of these packages and modules are the threads that the first who needs them starts, and that work for all: what
# manages a pool, runs the jobs of a scheduler or a queue, pickles for processes, or sends what others have given it.
_SHARED = frozenset(
    (
        "aiosqlite",
        "anyio._backends._asyncio",
        "apscheduler",
        "billiard.pool",
        "billiard.queues",
        "bugsnag",
        "cassandra",
        "celery.utils.timer2",
        "concurrent.futures.process",
        "datadog",
        "dramatiq",
        "elasticapm",
        "google.cloud.logging_v2.handlers.transports.background_thread",
        "honeybadger",
        "huey",
        "joblib.externals.loky.process_executor",
        "kafka",
        "ldclient",
        "logging.handlers",
        "loky.process_executor",
        "multiprocessing.pool",
        "multiprocessing.queues",
        "newrelic",
        "pebble.pool.process",
        "pebble.pool.thread",
        "posthog",
        "psycopg_pool",
        "pymongo",
        "scout_apm",
        "segment.analytics.consumer",
        "sentry_sdk",
        "trio._core._thread_cache",
    )
)
_POOL_METHODS = ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")
_IS_GIVEN_CONTEXTS = sys.version_info >= (3, 14)

# Threads whose `start` has failed, which since 3.14 leaves them a context that nobody has made them with.
_not_started: WeakSet[Thread] = WeakSet()


def patches() -> Patches:
    """The patches."""
    return Patches(
        Patch("threading", "Thread.start", _start),
        Patch("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit),
        Patch("multiprocessing.pool", "ThreadPool.__init__", alone),  # its threads work for all who will submit
        *(Patch("multiprocessing.pool", f"ThreadPool.{method}", _submit_to_pool) for method in _POOL_METHODS),
        Patch("aiosqlite.core", "Connection._execute", call_in_copy),  # in the connection's thread
    )


class _Run:
    """What a thread runs instead of its own ``run``, once.

    Args:
        context: what to run it in.
        thread: the thread, which has a ``run`` of its class or one of its own.
    """

    __slots__ = ("_context", "_is_its_own", "_run")

    def __init__(self, context: Context, thread: Thread) -> None:
        self._context = context
        self._run = thread.run
        self._is_its_own = "run" in vars(thread)

    def __call__(self, thread: Thread) -> None:
        _take_away(thread)
        context, run = self._context, self._run
        del self._context, self._run  # where somebody else has wrapped this, the thread keeps it
        run_in(context, run)

    def give_back(self, thread: Thread) -> None:
        """Have ``thread`` as it was before."""
        if self._is_its_own:
            vars(thread)["run"] = self._run
        else:
            vars(thread).pop("run", None)


def _start(wrapped: Callable[..., None], thread: Thread, args: Any, kwargs: Any) -> None:
    if _IS_GIVEN_CONTEXTS and guard(_has_its_own_context, thread):
        wrapped(*args, **kwargs)
        return
    context = None if guard(_works_for_all, thread) else carried(thread)
    if context is None:
        alone(wrapped, thread, args, kwargs)  # it may be a greenlet, which would be given the context that it starts in
        return
    guard(_give, thread, context)
    try:
        wrapped(*args, **kwargs)
    except BaseException:
        # It has not started, and may be asked to again.
        _take_away(thread)
        guard(_not_started.add, thread)
        raise


def _has_its_own_context(thread: Thread) -> bool:
    """Whether the application has made the thread with a context to run in."""
    return getattr(thread, "_context", None) is not None and thread not in _not_started


def _works_for_all(thread: Thread) -> bool:
    # A timer has a function for its target.
    return any(map(_is_shared, (type(thread), getattr(thread, "_target", None), getattr(thread, "function", None))))


def _is_shared(work: object) -> bool:
    module = str(getattr(work, "__module__", None))
    return module in _SHARED or module.partition(".")[0] in _SHARED


def _give(thread: Thread, context: Context) -> None:
    # On the thread itself, as a subclass may have a `run` that does not call ours; as a method, for others who patch
    # `start` look for a method's function. It goes when the thread runs, which ends the cycle.
    vars(thread)["run"] = MethodType(_Run(context, thread), thread)


def _take_away(thread: Thread) -> None:
    ours = getattr(vars(thread).get("run"), "__func__", None)
    if isinstance(ours, _Run):
        ours.give_back(thread)


def _submit(wrapped: Callable[..., Any], executor: object, args: Any, kwargs: Any) -> Any:
    # One of interpreters, since 3.14, is one of threads; what it is given is pickled, as a context cannot be.
    of_interpreters = getattr(sys.modules.get("concurrent.futures.interpreter"), "InterpreterPoolExecutor", ())
    submit = alone if isinstance(executor, of_interpreters) else submit_in_copy
    return submit(wrapped, executor, args, kwargs)


def _submit_to_pool(wrapped: Callable[..., Any], pool: object, args: Any, kwargs: Any) -> Any:
    context = carried(args[0] if args else kwargs.get("func"))
    if context is None:
        return wrapped(*args, **kwargs)
    if args:
        return wrapped(InCopies(context, args[0]), *args[1:], **kwargs)
    if "func" in kwargs:
        kwargs = {**kwargs, "func": InCopies(context, kwargs["func"])}
    return wrapped(*args, **kwargs)
