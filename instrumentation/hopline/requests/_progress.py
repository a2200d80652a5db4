"""What this room keeps of a call while it lasts, and how an attempt of it ends and the next one begins."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.context import attach, detach

from hopline.http.attributes import REQUEST_BODY_SIZE, Outcome
from hopline.http.call import ClientCall
from hopline.http.headers import Headers, recognise

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

T = TypeVar("T")

# The call that a session of requests is making here, if one is. OpenTelemetry's context has it too, but to ask that for
# it takes ten times as long, 0.2 µs, and a request passes many places that ask.
ongoing: ContextVar[ClientCall | None] = ContextVar("hopline_requests_ongoing", default=None)

# What OTLP has room for; an application may set any Content-Length.
_MAX_SIZE = 2**63 - 1

_VERSIONS = {10: "1.0", 11: "1.1", 20: "2"}


class Progress:
    """How far a call of a session has come, and its current attempt.

    Attributes:
        session: the session that makes the call.
        bounded: whether there is a deadline.
        following: whether the session has made the request that the answer redirects to; a send now is that hop.
        answer: the response to the attempt, once requests has built it.
        error: the exception that ended the attempt, where somebody between the adapter and us caught it.
        adapted: whether an adapter has been given the attempt's request.
        headers: the header that the adapter has been given, which it hands over to urllib3.
        pool: urllib3's pool that sends the attempt's request; None until the adapter has given it to one.
        raw: the response to the attempt as urllib3 has it, once its header is here.
        returned: when urllib3 had the header or an error, in nanoseconds of the performance counter.
        resolving: when the host name began to be resolved, by the same clock, while it is.
        connecting: when the first address began to be connected to, by the same clock.
        chunks: the bytes so far of a response's body that is sent in chunks.
    """

    following = False
    answer: Response | None = None
    error: BaseException | None = None
    adapted = False
    headers: Any = None
    pool: object = None
    raw: Any = None
    returned: int | None = None
    resolving: int | None = None
    connecting: int | None = None
    chunks = 0

    def __init__(self, session: Session, *, bounded: bool) -> None:
        self.session = session
        self.bounded = bounded


def header_of(request: Any) -> Headers:
    """The header of a prepared request; it gets one if it has none."""
    headers: Headers | None = request.headers
    if headers is None:
        # Only where the application filled in a PreparedRequest by hand; requests takes it either way.
        from requests.structures import CaseInsensitiveDict

        request.headers = headers = CaseInsensitiveDict()
    return headers


def end(call: ClientCall, error: BaseException | None = None) -> Outcome | None:
    """End the attempt as its progress has it, and perhaps with an exception that the application will get."""
    progress: Progress = call.progress
    answer = progress.answer  # which is false where its status is 400 or more
    if answer is None:
        answer = _answer_in(error, call.request)
    raw = progress.raw if answer is None else answer.raw
    status = getattr(raw, "status", None) if answer is None else answer.status_code
    if not isinstance(status, int):
        status = None
    version = _VERSIONS.get(getattr(raw, "version", 0))
    error = error or progress.error
    body_is_here = raw is not None and (error is not None or is_read(raw))
    if progress.raw is not None or call.telemetry.config.body_sizes:
        _tell_bodies(call, received(progress) if body_is_here else None)
    progress.error = None  # it refers to the frame that it came through, and that to this progress
    if error is not None:
        return call.fail(error, status, version)
    return call.finish(status, version, (raw if answer is None else answer).headers, answer)


def _answer_in(error: BaseException | None, request: Any) -> Any:
    # Not the answer to something else, such as what a streamed body comes from; botocore's is not even a response.
    answer = getattr(error, "response", None)
    return answer if getattr(answer, "request", None) is request else None


def stop(call: ClientCall) -> None:
    """Stop the attempt's clock: its answer is here, and so is the body if the session reads it."""
    if call.progress.raw is not None:
        _tell_response_body(call, received(call.progress))
    call.stop()


def raw_of(progress: Progress) -> Any:
    """The response to the attempt as urllib3 has it, or what stands in for it, so far as there is one."""
    return progress.raw if progress.answer is None else progress.answer.raw


def received(progress: Progress) -> int:
    """The bytes of the response's body so far, as they were on the wire."""
    # urllib3's own count, in which chunks are missing; what stands in for its response may have anything there.
    count = getattr(raw_of(progress), "_fp_bytes_read", 0)
    return progress.chunks + (count if type(count) is int else 0)


def within(call: ClientCall, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function while the context of the call's attempt, one that has just begun, is the current one."""
    token = attach(call.context)
    try:
        return function(*args, **kwargs)
    finally:
        detach(token)


def untold(function: Callable[..., T], args: Any, kwargs: Any) -> T:
    """Call a function whose requests are no attempts of the call around it, such as one for a token in an adapter."""
    if ongoing.get() is None:
        return function(*args, **kwargs)
    token = ongoing.set(None)
    try:
        return function(*args, **kwargs)
    finally:
        ongoing.reset(token)


def next_attempt(call: ClientCall, request: PreparedRequest, headers: Headers | None = None) -> None:
    """End the attempt and begin the next one.

    Args:
        call: the call.
        request: the request that is sent next.
        headers: the header that is sent with it, where that is not the request's own.
    """
    end(call)
    call.progress = Progress(call.progress.session, bounded=call.progress.bounded)
    headers = header_of(request) if headers is None else headers
    recognise(header_of(call.request), headers)
    call.resend(request.method or "", request.url or "", headers, request)


def is_read(raw: Any) -> bool:
    """Whether the body of a response has been read to its end or closed, as urllib3 has it, or never was with it."""
    original = getattr(raw, "_original_response", None)
    return original is None or bool(original.isclosed())


def _tell_bodies(call: ClientCall, size: int | None) -> None:
    if call.telemetry.config.body_sizes:
        call.sizes = _sent(call.request), size
    if call.progress.raw is None:
        return
    sent = 0 if call.request.body is None else _sent(call.request)
    if sent:
        call.details[REQUEST_BODY_SIZE] = sent
    _tell_response_body(call, size)


def _tell_response_body(call: ClientCall, size: int | None) -> None:
    if size:
        call.body_arrived(size)


def _sent(request: PreparedRequest) -> int | None:
    length = request.headers.get("Content-Length")
    if length is None:
        return 0 if request.body is None else None  # sent in chunks, by whatever yields them
    try:
        size = int(length)
    except ValueError:
        return None
    return size if 0 <= size <= _MAX_SIZE else None
