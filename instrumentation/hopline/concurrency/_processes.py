"""Pools of processes: the ids of the request and of the trace go along, and nothing that might not be picklable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import lru_cache
from os import getpid
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.trace import get_tracer_provider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hopline._flushing import flush
from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline._scope import Scope
from hopline._state import Begun, State, current, newest_state
from hopline.deadline import Deadline

# Whoever leaves a pool, or joins a process, waits for this, and may be serving a request.
_FLUSH_SECONDS = 2.0

_trace_context = TraceContextTextMapPropagator()


def patches() -> Patches:
    """The patches."""
    return Patches(
        Patch("concurrent.futures.process", "ProcessPoolExecutor.submit", _submit),
        # Which a process that multiprocessing has forked calls first, once it has dropped its parent's finalizers.
        Patch("multiprocessing.util", "_run_after_forkers", _forked),
    )


class Carried:
    """A function, and the ids to call it with in another process.

    Args:
        function: the function.
        trace: the W3C trace context, as in headers.
        request_id: the id of the request, if there is one.
        deadline: its deadline, in seconds since the epoch, if there is one.
    """

    __slots__ = ("_deadline", "_function", "_request_id", "_trace")

    def __init__(
        self, function: Callable[..., Any], trace: Mapping[str, str], request_id: str | None, deadline: float | None
    ) -> None:
        self._function = function
        self._trace = trace
        self._request_id = request_id
        self._deadline = deadline

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        begun = guard(self._begin)
        try:
            return self._function(*args, **kwargs)
        finally:
            if begun is not None:
                begun.end()

    def _begin(self) -> Begun:
        _flush_at_exit(getpid())
        deadline = None if self._deadline is None else Deadline(self._deadline)
        state = State(Scope(extracted=True), self._request_id, deadline=deadline)
        return Begun(state, _trace_context.extract(self._trace))


def _submit(wrapped: Callable[..., Any], executor: object, args: Any, kwargs: Any) -> Any:
    carried = guard(_carried, args[0]) if args else None
    if carried is not None:
        args = (carried, *args[1:])
    # A process that is forked here works for all who will submit, and for work that no request submits.
    return _of_no_request().run(wrapped, *args, **kwargs)


def _of_no_request() -> Context:
    context = copy_context()
    context.run(otel_context.attach, otel_context.Context())
    context.run(newest_state.set, None)
    return context


def _carried(function: Callable[..., Any]) -> Carried | None:
    trace: dict[str, str] = {}
    _trace_context.inject(trace)
    state = current()
    if state is None:
        return Carried(function, trace, None, None) if trace else None
    return Carried(function, trace, state.request_id, None if state.deadline is None else state.deadline.at)


def _forked(wrapped: Callable[..., Any], module: object, args: Any, kwargs: Any) -> Any:
    result = wrapped(*args, **kwargs)
    guard(_flush_at_exit, getpid())
    return result


@lru_cache(maxsize=1)
def _flush_at_exit(pid: int) -> None:
    # A forked process ends without the handlers of `atexit`, one of which is the SDK's; once in each process.
    from multiprocessing.util import Finalize

    Finalize(None, guard, (_flush,), exitpriority=100)


def _flush() -> None:
    flush({"spans": get_tracer_provider()}, _FLUSH_SECONDS)
