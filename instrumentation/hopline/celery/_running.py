"""Running a task: a CONSUMER span, and a context and request id of its own, in the worker or eagerly."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from time import time
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from hopline._errors import error_type_of
from hopline._extraction import Extraction
from hopline._suppression import is_suppressed
from hopline.celery import _words as words
from hopline.celery._messages import HeaderGetter, request_id_in, seconds_in_queue
from hopline.context import Begun, begin, completed, current
from hopline.http.attributes import PHASE_QUEUE
from hopline.http.redaction import description_of, record_exception
from hopline.request_id import REQUEST_ID

_WORTH_TELLING = (("is_eager", words.EAGER), ("hostname", words.HOSTNAME), ("retries", words.RETRIES))


class Run:
    """One run of one task; its context holds meanwhile.

    Attributes:
        task_id: the task's id.
        span: the run's CONSUMER span.
        error: what the task has raised, once it has.
    """

    __slots__ = ("_begun", "_outer", "error", "span", "task_id")

    def __init__(self, task_id: str, span: Span, begun: Begun) -> None:
        self.task_id = task_id
        self.span = span
        self.error: BaseException | None = None
        self._begun = begun
        self._outer = _current.set(self)

    def leave(self) -> None:
        """End the run's context."""
        _current.reset(self._outer)
        self._begun.end()


_current: ContextVar[Run | None] = ContextVar("hopline_celery_run", default=None)


class Running:
    """Tells of the tasks that this process runs, or that it knows will never have run to their end.

    Args:
        tracer: makes the spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._extraction = Extraction()
        self._getter = HeaderGetter()

    def prerun(self, task_id: str, task: Any, **_: Any) -> None:
        """A task is about to run (Celery's signal ``task_prerun``)."""
        around = otel_context.get_current()
        if is_suppressed(around):
            return
        request = task.request
        # The caller runs an eager task: what the caller is served for, the task is run for.
        state = current() if request.is_eager else None
        parent = completed(around) if request.is_eager else self._extract(vars(request))
        waited = seconds_in_queue(vars(request), time())
        span = self._start(task.name, task_id, vars(request), parent, waited)
        request_id, deadline = (None, None) if state is None else (state.request_id, state.deadline)
        begun = begin(request_id, context=set_span_in_context(span, parent), deadline=deadline)
        span.set_attribute(REQUEST_ID, begun.state.request_id or "")
        Run(task_id, span, begun)

    def failure(self, task_id: str, exception: BaseException, **_: Any) -> None:
        """A task has failed (``task_failure``)."""
        run = _current.get()
        if run is not None and run.task_id == task_id:
            # What the signal has may be a stand-in that can be pickled.
            run.error = sys.exc_info()[1] or exception

    def retry(self, request: Any, reason: object = None, **_: Any) -> None:
        """A task is going to be retried (``task_retry``)."""
        run = _current.get()
        if run is not None and run.task_id == request.id:
            run.span.set_attribute(words.RETRY_REASON, words.text(reason))

    def postrun(self, task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
        """A task has run (``task_postrun``)."""
        run = _current.get()
        if run is None or run.task_id != task_id:
            return
        run.leave()
        error = run.error
        if state is None:
            # It was left by an exception that Celery does not handle, which is still on its way.
            error = error or sys.exc_info()[1]
            if _is_being_ended(error, task):
                return
        is_expected = isinstance(error, tuple(task.throws or ()))
        _end(run.span, state or words.FAILURE, error, is_expected=is_expected)

    def revoked(self, sender: Any, request: Any, terminated: bool, signum: object, expired: bool, **_: Any) -> None:
        """A task was revoked, before it ran or while it did (``task_revoked``)."""
        headers = vars(request)
        # Nobody tells when one began that was running.
        waited = None if terminated else seconds_in_queue(headers, time())
        span = self._start(sender.name, request.id, headers, self._extract(headers), waited)
        span.set_attribute(words.REVOKED_REASON, "terminated" if terminated else "expired" if expired else "revoked")
        if signum is not None:
            span.set_attribute(words.REVOKED_SIGNAL, str(int(signum) if isinstance(signum, int) else signum))
        _end(span, words.REVOKED, None)

    def unknown(self, name: str, id: str, message: Any, exc: BaseException, **_: Any) -> None:  # noqa: A002
        """A message came for a task that this worker does not have (``task_unknown``)."""
        headers = message.headers or {}
        span = self._start(name, id, headers, self._extract(headers), seconds_in_queue(headers, time()))
        _end(span, words.REJECTED, exc)

    def lost(self, request: Any, error: BaseException) -> None:
        """The process that ran a task is gone.

        Args:
            request: the worker's ``celery.worker.request.Request``.
            error: why: a hard time limit, or the process was killed.
        """
        headers, began = request.request_dict, request.time_start
        waited = seconds_in_queue(headers, began or time())
        span = self._start(request.task.name, request.id, headers, self._extract(headers), waited, began)
        _end(span, words.FAILURE, error)

    def receive(self, headers: Mapping[str, Any]) -> Begun | None:
        """Begin what the worker's main process does for one message: what it logs meanwhile has the message's ids.

        Args:
            headers: the message's.

        Returns:
            What to end; None if the message has no id that is accepted, for then it is the run that makes one.
        """
        context = self._extract(headers)
        state = current(context)
        accepted = None if state is None else state.request_id
        return begin(context=context) if accepted == request_id_in(headers) else None

    def _extract(self, headers: Mapping[str, Any]) -> Context:
        return self._extraction.context(headers, self._getter)

    def _start(
        self,
        name: str,
        task_id: str,
        headers: Mapping[str, Any],
        parent: Context,
        waited: float | None,
        began: float | None = None,
    ) -> Span:
        delivery = headers.get("delivery_info") or {}
        attributes = words.attributes(words.RUN, name, task_id, delivery.get("routing_key"))
        attributes.update({attribute: headers[key] for key, attribute in _WORTH_TELLING if headers.get(key)})
        state = current(parent)
        if state is not None and state.request_id is not None:
            attributes[REQUEST_ID] = state.request_id
        if waited is not None:
            attributes[PHASE_QUEUE] = waited
        start_time = None if began is None else int(began * 1e9)
        span_name = words.span_name(words.RUN, name)
        return self._tracer.start_span(span_name, parent, SpanKind.CONSUMER, attributes, start_time=start_time)


def _end(span: Span, state: str, error: BaseException | None, *, is_expected: bool = False) -> None:
    span.set_attribute(words.STATE, state)
    if error is not None:
        span.set_attribute(ERROR_TYPE, error_type_of(error))
        if not is_expected:
            record_exception(span, error)
            span.set_status(StatusCode.ERROR, description_of(error))
    span.end()


def _is_being_ended(error: BaseException | None, task: Any) -> bool:
    """Whether ``error`` ends the worker's process or greenlet that runs ``task``: then the worker will tell why."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return _is_pool_process()
    return type(error).__name__ == "GreenletExit" and not task.request.is_eager


def _is_pool_process() -> bool:
    billiard = sys.modules.get("billiard.process")
    return billiard is not None and billiard.current_process().name != "MainProcess"
