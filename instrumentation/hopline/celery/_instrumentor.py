"""The instrumentor of Celery."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial
from os import getpid
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.trace import TracerProvider, get_tracer

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline._version import __version__
from hopline.celery._flushing import flush
from hopline.celery._publishing import Publishing
from hopline.celery._running import Running
from hopline.http.attributes import SCHEMA_URL

_SIGNALS = "celery.signals"
_OURS = "hopline"


class _Connections:
    """The receivers of Celery's signals: connected when Celery is imported, not before."""

    def __init__(self, receivers: Mapping[str, Callable[..., None]]) -> None:
        self._receivers = {name: partial(_received, receiver) for name, receiver in receivers.items()}
        self._is_wanted = False

    def connect(self) -> None:
        self._is_wanted = True
        wrapt.register_post_import_hook(self._imported, _SIGNALS)

    def disconnect(self) -> None:
        self._is_wanted = False
        module = sys.modules.get(_SIGNALS)
        for name in self._receivers if module is not None else ():
            getattr(module, name).disconnect(dispatch_uid=_OURS)

    def _imported(self, module: ModuleType) -> None:
        for name, receiver in self._receivers.items() if self._is_wanted else ():
            getattr(module, name).connect(receiver, weak=False, dispatch_uid=_OURS)

    def put_last(self, name: str) -> None:
        """Have the receiver of the signal ``name`` called after all others that are connected by now."""
        signal, ours = getattr(sys.modules[_SIGNALS], name), self._receivers[name]
        if signal.receivers and signal.receivers[-1][1] is ours:
            return
        with signal.lock:  # which the signal has, too, while it looks who is to be called
            for position, (_, receiver) in enumerate(signal.receivers):
                if receiver is ours:
                    # In this order: where the list is empty, nobody is called.
                    signal.receivers.append(signal.receivers[position])
                    del signal.receivers[position]
                    break


def _received(receiver: Callable[..., None], **arguments: Any) -> None:
    guard(receiver, **arguments)


class _Telling:
    """All that one instrumentation of Celery has put in place."""

    def __init__(self, tracer_provider: TracerProvider | None) -> None:
        tracer = get_tracer("hopline.celery", __version__, tracer_provider, schema_url=SCHEMA_URL)
        publishing, self._running = Publishing(tracer), Running(tracer)
        self._connections = _Connections(
            {
                "before_task_publish": publishing.before,
                "after_task_publish": publishing.after,
                "task_prerun": self._prerun,
                "task_postrun": self._running.postrun,
                "task_failure": self._running.failure,
                "task_retry": self._running.retry,
                "task_revoked": self._running.revoked,
                "task_unknown": self._running.unknown,
                "worker_process_shutdown": flush,
                "worker_shutdown": flush,
            }
        )
        self._is_on = [False]
        self._patches = Patches(
            Patch("celery.app.base", "Celery.send_task", publishing.send),
            Patch("celery.worker.strategy", "default", self._strategy),
            Patch("celery.worker.consumer.consumer", "Consumer.on_unknown_task", self._on_unknown),
            Patch("celery.worker.request", "Request.on_timeout", self._on_timeout),
            Patch("celery.worker.request", "Request.on_failure", self._on_failure),
        )

    def begin(self) -> None:
        self._is_on[:] = [True]
        self._connections.connect()
        self._patches.apply()

    def end(self) -> None:
        self._is_on.clear()
        self._connections.disconnect()
        self._patches.remove()

    def _prerun(self, **arguments: Any) -> None:
        # Who else is told that the task has run is told while the run's context holds.
        guard(self._connections.put_last, "task_postrun")
        self._running.prerun(**arguments)

    def _strategy(self, wrapped: Callable[..., Any], _module: object, args: Any, kwargs: Any) -> Any:
        # What it returns handles each message of one task that comes, as long as the worker runs.
        return wrapt.FunctionWrapper(wrapped(*args, **kwargs), self._handle, enabled=self._is_on)  # type: ignore[arg-type]

    def _handle(self, wrapped: Callable[..., Any], _instance: object, args: Any, kwargs: Any) -> Any:
        headers = args[0].headers if args else None
        return self._in_context(headers, wrapped, args, kwargs)

    def _on_unknown(self, wrapped: Callable[..., Any], _consumer: object, args: Any, kwargs: Any) -> Any:
        headers = args[1].headers if len(args) > 1 else None
        return self._in_context(headers, wrapped, args, kwargs)

    def _on_timeout(self, wrapped: Callable[..., Any], request: Any, args: Any, kwargs: Any) -> Any:
        return self._in_context(request.request_dict, wrapped, args, kwargs)

    def _on_failure(self, wrapped: Callable[..., Any], request: Any, args: Any, kwargs: Any) -> Any:
        guard(self._tell_if_lost, request, *args, **kwargs)
        return self._in_context(request.request_dict, wrapped, args, kwargs)

    def _in_context(
        self, headers: Mapping[str, Any] | None, wrapped: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Call ``wrapped``, which the worker's main process calls for one message, in the message's context."""
        begun = guard(self._running.receive, headers) if headers else None
        try:
            return wrapped(*args, **kwargs)
        finally:
            if begun is not None:
                begun.end()

    def _tell_if_lost(self, request: Any, exc_info: Any, *_: Any, **__: Any) -> None:
        error = exc_info.exception
        error = getattr(error, "exc", error) or error  # billiard's ExceptionWithTraceback
        is_lost = type(error).__name__ in ("WorkerLostError", "TimeLimitExceeded", "SystemExit", "KeyboardInterrupt")
        if is_lost and request.worker_pid not in (None, getpid()):
            self._running.lost(request, error)


class CeleryInstrumentor(BaseInstrumentor):
    """Instruments Celery, where tasks are published and where they run.

    Publishing makes a PRODUCER span, running a CONSUMER span that is its child. What the global propagator sends goes
    along in the message's header, and the request id in any case: the task runs in a fresh context with the id that
    was sent. A span's ``celery.state`` is how the run ended, its ``hopline.phase.queue`` the seconds that the message
    waited in the broker. What is held back is exported before a worker's process ends.

    Example:
        >>> from hopline.celery import CeleryInstrumentor
        >>> CeleryInstrumentor().instrument()
        >>> CeleryInstrumentor().uninstrument()
    """

    _telling: _Telling | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """What must be installed: Celery 5.3 or later."""
        return ("celery >= 5.3, < 6",)

    def _instrument(self, **kwargs: Any) -> None:
        """Instrument every Celery application.

        Args:
            **kwargs: ``tracer_provider`` (default: the global one).
        """
        self._telling = _Telling(kwargs.get("tracer_provider"))
        self._telling.begin()

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._telling is not None:
            self._telling.end()
            self._telling = None
