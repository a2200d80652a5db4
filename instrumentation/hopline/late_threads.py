"""The SDK's threads, begun late: what patches threads (gevent, eventlet) must find none but the main one.

With another one running, gevent leaves the locks that exist as they are; a native lock of the SDK's that one greenlet
holds while it exports stops all the others. So where gevent or eventlet is installed, the threads that the SDK starts
are held back until it has patched, or until there is something to export, or for 5 seconds.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from _thread import LockType
from _thread import allocate_lock as _allocate_lock
from _thread import start_new_thread as _start_new_thread
from collections.abc import Callable
from contextvars import Context
from functools import partial
from importlib.util import find_spec
from threading import Event, Thread
from types import TracebackType
from typing import Any

from hopline._guard import guard
from hopline._patch import Patch
from hopline.processor import RequestIdSpanProcessor

# By then a batch of the SDK's would be exported for the first time.
_LATEST = 5.0
_SDK = "Otel"


class LateThreads:
    """Holds back the threads that the SDK starts in a ``with`` block, and again in each process that is forked."""

    def __init__(self) -> None:
        self._waiting: list[Thread] = []
        self._unable: set[Thread] = set()
        self._process = 0  # the one in which threads wait, if any do
        self._beginning = _allocate_lock()
        self._is_holding = _allocate_lock()
        self._triggers: list[RequestIdSpanProcessor] = []
        self._start = Patch("threading", "Thread.start", self._hold)
        self._patching = (
            Patch("gevent.monkey", "patch_all", self._after_patching),
            Patch("eventlet.patcher", "monkey_patch", self._after_patching),
        )

    @staticmethod
    def may_be_needed() -> bool:
        """Whether gevent or eventlet is installed."""
        return any(find_spec(name) is not None for name in ("gevent", "eventlet"))

    def __enter__(self) -> LateThreads:
        self._hold_from_now_on()
        if hasattr(os, "register_at_fork"):
            # The SDK will begin new threads in the child. It registers for that later, so this is called before.
            os.register_at_fork(after_in_child=self._after_fork)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._waiting:
            self.begin()
            self._process = 0
            return
        for patch in self._patching:
            patch.apply()
        # Registered later than the SDK's own handlers it is called before: they wait for the threads to end.
        atexit.register(self.begin)
        self._begin_at_latest()

    def begin_at_first_span(self, processor: RequestIdSpanProcessor) -> None:
        """Begin the threads when ``processor`` sees a span."""
        self._triggers.append(processor)
        processor.at_first = self.begin

    def begin(self) -> None:
        """Begin the threads that wait; later ones begin when they are started."""
        if _spawn_after() is None:
            with self._beginning:
                self._begin_each(self._begin)
        else:
            self._begin_each(_begin_patched)

    def _begin_each(self, begin: Callable[[Thread], None]) -> None:
        self._start.remove()
        waiting, self._waiting = self._waiting, []
        for thread in waiting:
            # Not in the context of whoever happens to be first.
            Context().run(guard, begin, thread)
            if thread not in self._unable:
                del thread.join
        if self._is_holding.locked():
            self._is_holding.release()

    def _begin(self, thread: Thread) -> None:
        try:
            thread.start()
        except RuntimeError:
            # Python 3.12 begins no thread any more while it ends: whoever waits for this one does its work.
            self._unable.add(thread)

    def _hold_from_now_on(self) -> None:
        self._waiting = []
        self._unable = set()
        self._process = os.getpid()
        self._beginning = _allocate_lock()
        self._is_holding = _allocate_lock()
        self._is_holding.acquire()
        self._start.apply()

    def _begin_at_latest(self) -> None:
        spawn_after = _spawn_after()
        if spawn_after is None:
            # Not a `Thread`, which gevent would find.
            _start_new_thread(self._begin_later, (self._is_holding,))
        else:
            # After a fork: as soon as the hub has got over it.
            spawn_after(0, self.begin)

    def _begin_later(self, is_holding: LockType) -> None:
        if not is_holding.acquire(timeout=_LATEST):
            self.begin()

    def _hold(self, wrapped: Callable[..., None], thread: Thread, args: Any, kwargs: Any) -> None:
        # The process is another one where a server forks without telling Python.
        if not thread.name.startswith(_SDK) or os.getpid() != self._process:
            wrapped(*args, **kwargs)
            return
        thread.join = partial(self._join, thread)  # type: ignore[method-assign]
        self._waiting.append(thread)
        if not self._start.is_applied:
            self.begin()  # those that waited have begun meanwhile

    def _join(self, thread: Thread, timeout: float | None = None) -> None:
        # A thread that has not begun cannot be waited for.
        self.begin()
        if thread in self._unable:
            self._unable.discard(thread)
            thread.join = lambda timeout=None: None  # type: ignore[method-assign]
            thread.run()  # what is left: the SDK has told it to end before
        else:
            Thread.join(thread, timeout)

    def _after_patching(self, wrapped: Callable[..., Any], module: object, args: Any, kwargs: Any) -> Any:
        returned = wrapped(*args, **kwargs)
        if _spawn_after() is not None:
            self.begin()
        return returned

    def _after_fork(self) -> None:
        if not self._process:
            return
        self._hold_from_now_on()
        for processor in self._triggers:
            processor.at_first = self.begin
        self._begin_at_latest()


def _spawn_after() -> Callable[..., object] | None:
    """What runs a function in a greenlet after some seconds, if ``threading`` has been patched."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return sys.modules["gevent"].spawn_later  # type: ignore[no-any-return]
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return sys.modules["eventlet"].spawn_after  # type: ignore[no-any-return]
    return None


def _begin_patched(thread: Thread) -> None:
    """Begin a thread's work in a thread that is made of what is in ``threading`` now, as are its locks."""
    work = thread._target  # type: ignore[attr-defined]
    owner: Any = getattr(work, "__self__", None)
    patched = threading.Thread(target=work, name=thread.name, daemon=thread.daemon)
    for name, value in list(vars(owner).items()):
        if value is thread:
            setattr(owner, name, patched)
        elif isinstance(value, Event):
            setattr(owner, name, threading.Event())
        elif isinstance(value, LockType):
            setattr(owner, name, threading.Lock())
    patched.start()
