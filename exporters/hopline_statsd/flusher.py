"""The background thread of a sender: sends what no full packet took along, and does what may have to wait."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from time import monotonic

_logger = logging.getLogger(__name__)

Tick = Callable[[], float | None]

_Wish = Callable[[], None] | None

_AFTER_ERROR = 10.0


class Flusher:
    """A daemon thread that calls `tick` when it is due. It sleeps for as long as there is nothing to send.

    Args:
        tick: Sends what is there; returns the seconds until it wants to be called again, or None: after
            `work`.
        push: Sends whole packets only; returns the seconds until the next tick, or None: when it is due
            anyway.
        interval: Seconds between `work` and the tick that follows.
    """

    def __init__(self, tick: Tick, push: Tick, interval: float) -> None:
        self._tick = tick
        self._push = push
        self._interval = interval
        # SimpleQueue.put may interrupt itself (a signal handler, a finalizer): its documentation promises so.
        self._wishes: queue.SimpleQueue[_Wish] = queue.SimpleQueue()
        self._due: float | None = None
        self._hurries = False
        self._thread = threading.Thread(target=self._run, name="hopline-statsd", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The interpreter ends, or the system allows no more threads.
        """
        self._thread.start()

    @property
    def has_thread(self) -> bool:
        """Whether it acts by itself."""
        return True

    @property
    def serves(self) -> bool:
        """Whether somebody else than the caller takes its wishes."""
        return self._thread.is_alive() and self._thread is not threading.current_thread()

    def work(self) -> None:
        """Say that there is something to send within the interval."""
        self._wishes.put(self._within_interval)

    def hurry(self) -> None:
        """Say that whole packets wait to be sent."""
        if not self._hurries:
            self._hurries = True
            self._wishes.put(self._push_now)

    def call(self, function: Callable[[], bool], timeout: float) -> bool:
        """Have the thread call a function; in the thread itself, call it here.

        Args:
            function: What to call.
            timeout: Seconds to wait for its result at most.

        Returns:
            The function's result; False where the time was over before.
        """
        if not self.serves:
            return function()
        results: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._wishes.put(lambda: results.put(function()))
        try:
            return results.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return False

    def stop(self, timeout: float) -> None:
        """End the thread and wait for its end."""
        if self.serves:
            self._wishes.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            timeout = None if self._due is None else max(0.0, self._due - monotonic())
            try:
                wish = self._wishes.get(timeout=timeout)
            except queue.Empty:
                self._hurries = False  # should a signal's exception have come between that and its wish
                self._again(self._guarded(self._tick))
                continue
            if wish is None:
                return
            wish()

    def _guarded(self, act: Tick) -> float | None:
        try:
            return act()
        except Exception:
            _logger.exception("the statsd exporter goes on after an error of its own")
            return _AFTER_ERROR

    def _again(self, delay: float | None) -> None:
        self._due = None if delay is None else monotonic() + delay

    def _within_interval(self) -> None:
        if self._due is None:
            self._again(self._interval)

    def _push_now(self) -> None:
        self._hurries = False
        delay = self._guarded(self._push)
        if delay is not None:
            self._again(delay)


class Unaided:
    """Takes the place of a flusher where no thread may run: whoever comes by looks at the clock.

    Args:
        tick: As for a flusher.
        interval: As for a flusher.
    """

    def __init__(self, tick: Tick, interval: float) -> None:
        self._tick = tick
        self._interval = interval
        self._due: float | None = None

    @property
    def has_thread(self) -> bool:
        """Whether it acts by itself."""
        return False

    def work(self) -> None:
        """Say that there is something to send; do what is due."""
        now = monotonic()
        if self._due is None:
            self._due = now + self._interval
        elif now >= self._due:
            delay = self._tick()
            self._due = None if delay is None else now + delay

    hurry = work

    def call(self, function: Callable[[], bool], timeout: float) -> bool:
        """Call a function, and return its result."""
        return function()

    def stop(self, timeout: float) -> None:
        """Do nothing: there is no thread to end."""
