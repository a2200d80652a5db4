"""The pool: threads with a session each, that work off a queue of requests."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from contextvars import Context, copy_context
from os import cpu_count
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hopline._guard import guard
from hopline.requests._sessions import configured
from hopline.requests.threaded.progress import Progress

if TYPE_CHECKING:
    from requests import Response, Session

T = TypeVar("T")
Job = Mapping[str, Any]


class _Submitted(NamedTuple):
    """A job, and the context that it was submitted in."""

    job: Job
    context: Context


class JobQueue(queue.Queue[Any]):
    """A queue of requests, each the keyword arguments of ``Session.request``, that keeps each one's context.

    Any other queue does as well: its jobs run in the context that the pool is made in.
    """

    def put(self, item: Job, block: bool = True, timeout: float | None = None) -> None:
        """Submit a job in the current context."""
        super().put(_Submitted(item, copy_context()), block, timeout)


class ThreadResponse:
    """A response of the pool; it has the attributes of the response itself.

    Attributes:
        request_kwargs: the job.
        response: the response.
    """

    def __init__(self, request_kwargs: Job, response: Response) -> None:
        self.request_kwargs = request_kwargs
        self.response = response

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, "response", name)


class ThreadException:
    """An exception that came instead of a response; it has the attributes of the exception itself.

    Attributes:
        request_kwargs: the job.
        exception: the exception.
    """

    def __init__(self, request_kwargs: Job, exception: BaseException) -> None:
        self.request_kwargs = request_kwargs
        self.exception = exception

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, "exception", name)


class Pool:
    """Threads that make requests, each with a configured session of its own, which is closed at the end.

    They start at once; :meth:`join_all` waits for them.

    Args:
        job_queue: the jobs, each the keyword arguments of ``Session.request``; all must be there by now.
        initializer: called with each new session; returns the session to use, or None to use that one.
        auth_generator: called with what ``initializer`` returned; returns the session to use, or None as well.
        num_processes: the number of threads, at most one for each job; by default one for each processor.
        session: makes a session, ``requests.Session`` by default.
        progress: called after each job with the numbers of jobs done and failed, and of all.

    Raises:
        ValueError: if ``num_processes`` is less than 1.
    """

    def __init__(
        self,
        job_queue: queue.Queue[Any],
        initializer: Callable[[Any], Any] | None = None,
        auth_generator: Callable[[Any], Any] | None = None,
        num_processes: int | None = None,
        session: Callable[[], Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        number = cpu_count() or 1 if num_processes is None else num_processes
        if number < 1:
            raise ValueError("Number of processes should at least be 1.")
        self._jobs = job_queue
        self._context = copy_context()
        self._responses: queue.Queue[ThreadResponse] = queue.Queue()
        self._exceptions: queue.Queue[ThreadException] = queue.Queue()
        self._progress = progress
        self._counting = Lock()
        self._done = self._failed = 0
        self._total = job_queue.qsize()
        self._stopped = False
        steps = [step for step in (initializer, auth_generator) if step is not None]
        sessions = _new_sessions(min(number, self._total), session, steps)
        self._threads = [Thread(target=self._work, args=(each,), daemon=True) for each in sessions]
        for thread in self._threads:
            thread.start()

    @classmethod
    def from_urls(cls, urls: Iterable[str], request_kwargs: Job | None = None, **kwargs: Any) -> Pool:
        """A pool that requests each URL.

        Args:
            urls: the URLs.
            request_kwargs: further keyword arguments of ``Session.request``; the method is GET unless given.
            **kwargs: those of :class:`Pool`, except ``job_queue``.
        """
        jobs = JobQueue()
        for url in urls:
            jobs.put({"method": "GET", **(request_kwargs or {}), "url": url})
        return cls(job_queue=jobs, **kwargs)

    @classmethod
    def from_exceptions(cls, exceptions: Iterable[ThreadException], **kwargs: Any) -> Pool:
        """A pool that tries again what failed in another one.

        Args:
            exceptions: those of the other pool.
            **kwargs: those of :class:`Pool`, except ``job_queue``.
        """
        jobs = JobQueue()
        for exception in exceptions:
            jobs.put(exception.request_kwargs)
        return cls(job_queue=jobs, **kwargs)

    def join_all(self) -> None:
        """Wait until all jobs are done. Interrupted (by Ctrl-C), the pool begins no further job."""
        try:
            for thread in self._threads:
                thread.join()
        except BaseException:
            self._stopped = True
            raise

    def responses(self) -> Iterator[ThreadResponse]:
        """The responses that are there and have not been asked for yet."""
        return iter(self.get_response, None)

    def exceptions(self) -> Iterator[ThreadException]:
        """The exceptions that are there and have not been asked for yet."""
        return iter(self.get_exception, None)

    def get_response(self) -> ThreadResponse | None:
        """One response, or None if there is none now."""
        return _next_of(self._responses)

    def get_exception(self) -> ThreadException | None:
        """One exception, or None if there is none now."""
        return _next_of(self._exceptions)

    def _work(self, session: Session) -> None:
        with session:
            while not self._stopped:
                try:
                    item = self._jobs.get_nowait()
                except queue.Empty:
                    return
                submitted = item if isinstance(item, _Submitted) else _Submitted(item, self._context)
                # A copy, for a context can be entered by one thread at a time.
                submitted.context.copy().run(self._make, session, submitted.job)
                self._jobs.task_done()

    def _make(self, session: Session, job: Job) -> None:
        try:
            response = session.request(**job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the job's result, and others follow
            self._exceptions.put(ThreadException(job, error))
            self._count(done=0, failed=1)
        else:
            self._responses.put(ThreadResponse(job, response))
            self._count(done=1, failed=0)

    def _count(self, *, done: int, failed: int) -> None:
        with self._counting:
            self._done += done
            self._failed += failed
            if self._progress is not None:
                guard(self._progress, self._done, self._failed, self._total)


def _attribute(holder: object, held: str, name: str) -> Any:
    # Not what copying and unpickling ask for, which is the holder's own, and at a time when it may hold nothing yet.
    if name == held or name.startswith("__"):
        raise AttributeError(name)
    return getattr(getattr(holder, held), name)


def _new_sessions(number: int, make: Callable[[], Any] | None, steps: Iterable[Callable[[Any], Any]]) -> list[Any]:
    with ExitStack() as made:
        sessions = [made.enter_context(closing(_new_session(make, steps))) for _ in range(number)]
        made.pop_all()  # all are there; had a step raised, those before it would be closed
    return sessions


def _new_session(make: Callable[[], Any] | None, steps: Iterable[Callable[[Any], Any]]) -> Any:
    if make is None:
        from requests import Session

        make = Session
    session = make()
    for step in steps:
        returned = step(session)
        session = session if returned is None else returned
    return configured(session)


def _next_of(results: queue.Queue[T]) -> T | None:
    try:
        return results.get_nowait()
    except queue.Empty:
        return None
