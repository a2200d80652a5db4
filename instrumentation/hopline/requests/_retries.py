"""Retries beneath requests, in urllib3: each is an attempt of its own."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline.context import time_left
from hopline.deadline import deadline_exceeded
from hopline.http.call import ClientCall
from hopline.http.headers import Headers, Injected, renew
from hopline.requests._deadline import in_time
from hopline.requests._progress import Progress, next_attempt, ongoing, untold, within

# Of urlopen's arguments, after method, url and body.
_HEADERS = 3
_RETRIES = 4


def retry_patches() -> Patches:
    """The patches that see each request that urllib3 makes, and its waits in between."""
    return Patches(
        Patch("urllib3.connectionpool", "HTTPConnectionPool.urlopen", _urlopen),
        Patch("urllib3.connectionpool", "HTTPConnectionPool._make_request", _make_request),
        # Which it calls before it tries again.
        Patch("urllib3.response", "HTTPResponse.drain_conn", _drain_conn),
        Patch("urllib3.util.retry", "Retry.sleep", _wait),
    )


def _urlopen(wrapped: Callable[..., Any], pool: object, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is None or not call.progress.adapted:
        return wrapped(*args, **kwargs)
    progress: Progress = call.progress
    if progress.pool is None:
        headers = _argument(args, kwargs, _HEADERS, "headers")
        # The adapter hands over the request's own header; whoever else uses urllib3 meanwhile has another.
        if headers is progress.headers or (headers and guard(_is_a_copy_of, progress.headers, headers)):
            progress.pool = pool
        return wrapped(*args, **kwargs)
    if progress.pool is not pool:
        return untold(wrapped, args, kwargs)  # by what the body that is sent comes from, for instance
    history = getattr(_argument(args, kwargs, _RETRIES, "retries"), "history", None)
    if not history:
        return wrapped(*args, **kwargs)  # urllib3 calls itself for a retry; this is somebody else
    if progress.bounded:
        kwargs = in_time(kwargs)
    guard(_next, call, history[-1].error, _argument(args, kwargs, _HEADERS, "headers"))
    return within(call, wrapped, *args, **kwargs)


def _make_request(wrapped: Callable[..., Any], pool: object, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is None or call.progress.pool is not pool:
        return wrapped(*args, **kwargs)
    progress: Progress = call.progress
    try:
        progress.raw = response = wrapped(*args, **kwargs)
        call.headers_arrived()
    finally:
        progress.returned = perf_counter_ns()
    return response


def _drain_conn(wrapped: Callable[..., Any], raw: Any, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    # In urllib3 1.26 a request is answered with http.client's response, which counts no bytes; this is made of it.
    if call is not None and call.progress.raw is getattr(raw, "_original_response", raw):
        call.progress.raw = raw
    return wrapped(*args, **kwargs)


def _wait(wrapped: Callable[..., Any], retries: Any, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is not None and call.progress.bounded:
        left, wait = time_left(), guard(_wait_of, retries, *args, **kwargs)
        if left is not None and wait is not None and wait >= left:
            raise deadline_exceeded("the deadline of the request passes before the next attempt")
    return wrapped(*args, **kwargs)


def _wait_of(retries: Any, response: Any = None) -> float:
    asked = retries.get_retry_after(response) if response is not None and retries.respect_retry_after_header else None
    return float(asked or retries.get_backoff_time())


def _next(call: ClientCall, error: BaseException | None, headers: Any) -> None:
    progress: Progress = call.progress
    # The wait before a retry belongs to no attempt.
    call.stop(progress.returned)
    progress.error = error
    next_attempt(call, call.request, headers)
    call.progress.adapted = True
    call.progress.pool = progress.pool
    call.progress.headers = progress.headers
    # urllib3 sends a copy; at its response the application finds this.
    renew(progress.headers, headers)


def _is_a_copy_of(own: Headers, headers: Any) -> bool:
    # Elastic's agent has urllib3 send one, to add to it.
    return any(type(value) is Injected and headers.get(name) is value for name, value in own.items())


def _argument(args: Any, kwargs: Any, position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)
