"""What happens around ``Session.send``: one call, with an attempt for each redirect hop that it follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, attach, detach, get_current

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline._state import here
from hopline.http.call import ClientCall
from hopline.http.client import ClientTelemetry
from hopline.http.headers import withdraw
from hopline.requests._bodies import Streams
from hopline.requests._deadline import adapted_in_time, asked_in_time, in_time, passed_in
from hopline.requests._progress import Progress, end, header_of, next_attempt, ongoing, stop, untold, within

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

PreRequest = Callable[["PreparedRequest"], "PreparedRequest | None"]
PostRequest = Callable[["PreparedRequest", "Response | BaseException"], object]


@dataclass(frozen=True, slots=True)
class Setup:
    """How one session is told of.

    Attributes:
        telemetry: what its calls are told to, or None if they are not.
        pre_request: called with each request before it is sent; one that it returns is sent in its place.
        post_request: called with each request and its response, or the exception that came instead.
        follows: whether it is told of as all sessions are, while all are.
    """

    telemetry: ClientTelemetry | None
    pre_request: PreRequest | None = None
    post_request: PostRequest | None = None
    follows: bool = False


class Sending:
    """The patches around a send.

    Args:
        setup_of: tells how a session is told of, or None if it is not.
        streams: measures the bodies that are read after their call.
    """

    def __init__(self, setup_of: Callable[[Session], Setup | None], streams: Streams) -> None:
        self._setup_of = setup_of
        self._streams = streams
        self.patches = Patches(
            Patch("requests.sessions", "Session.send", self._send),
            # requests-mock keeps what it found when it was imported, and calls that.
            Patch("requests_mock.mocker", "_original_send", self._send_mocked),
            # Two of what a session calls for each hop that it is about to follow, as an application may override them.
            Patch("requests.sessions", "SessionRedirectMixin.rebuild_method", _rebuild),
            Patch("requests.sessions", "SessionRedirectMixin.rebuild_auth", _rebuild),
            Patch("requests.adapters", "HTTPAdapter.send", _adapter_send),
        )

    def _send(self, wrapped: Callable[..., Response], session: Session, args: Any, kwargs: Any) -> Response:
        setup = self._setup_of(session)
        if setup is None or setup.telemetry is None:
            guard(_withdraw, args[0] if args else kwargs.get("request"))
            return untold(wrapped, args, kwargs)
        if setup.pre_request is None and setup.post_request is None:
            return self._told(setup.telemetry, wrapped, session, args, kwargs)
        request = args[0] if args else kwargs.get("request")
        if setup.pre_request is not None:
            request = _replaced(guard(setup.pre_request, request), request)
        others = {name: value for name, value in kwargs.items() if name != "request"}
        try:
            response = self._told(setup.telemetry, wrapped, session, (request,), others)
        except BaseException as error:
            _after(setup, request, error)
            raise
        _after(setup, request, response)
        return response

    def _send_mocked(self, wrapped: Callable[..., Response], _: object, args: Any, kwargs: Any) -> Response:
        while getattr(wrapped, "_self_wrapper", None) == self._send:
            wrapped = wrapped.__wrapped__  # type: ignore[attr-defined]
        session, request = args
        call = ongoing.get()
        if call is not None and call.progress.session is session and call.request is request:
            return wrapped(*args, **kwargs)  # told of by the patch that stands on the mock's
        return self._send(partial(wrapped, session), session, (request,), kwargs)

    def _told(
        self, telemetry: ClientTelemetry, wrapped: Callable[..., Response], session: Session, args: Any, kwargs: Any
    ) -> Response:
        request = args[0] if args else kwargs.get("request")
        context = get_current()
        state = here(context)
        bounded = state is not None and state.deadline is not None
        if bounded:
            kwargs = asked_in_time(session, request, kwargs)
        outer = ongoing.get()
        if outer is not None and _is_next_of(outer, session, request, kwargs):
            guard(next_attempt, outer, request)
            response = _attempt(outer, wrapped, args, kwargs)
            guard(stop, outer)
            return response
        call = guard(_start, telemetry, session, request, context, bounded)
        if call is None:
            return untold(wrapped, args, in_time(kwargs) if bounded else kwargs)
        response = _attempt(call, wrapped, args, kwargs)
        outcome = guard(end, call)
        if outcome is not None and (kwargs.get("stream") or session.stream):
            guard(self._streams.watch, call, outcome, response)
        return response


def _withdraw(request: object) -> None:
    # It may have been sent before, when it was told of.
    headers = getattr(request, "headers", None)
    if headers:
        withdraw(headers)


def _replaced(returned: object, request: Any) -> Any:
    # What else a hook may return, such as the result of its last call, is no request.
    return returned if hasattr(returned, "prepare_headers") else request


def _is_next_of(call: ClientCall, session: Session, request: PreparedRequest, kwargs: Any) -> bool:
    """Whether what the session sends now is the next attempt of its ongoing call."""
    progress: Progress = call.progress
    if progress.session is not session:
        return False
    if progress.following:
        # A hop is sent without leave to redirect; the session may also be asked for something else on the way.
        return not kwargs.get("allow_redirects", True)
    # A hook of the session that renews what a request needs to be let in sends it once more.
    is_again = progress.answer is not None and (request.method, request.url) == (call.method, call.url)
    return is_again and call in call.telemetry.active


def _start(
    telemetry: ClientTelemetry, session: Session, request: PreparedRequest, context: Context, bounded: bool
) -> ClientCall | None:
    # What is not a prepared request is for requests itself to refuse.
    if not hasattr(request, "body") or not isinstance(request.url, str):
        return None
    call = telemetry.start(request.method or "", request.url, header_of(request), request, context=context)
    if call is not None:
        call.progress = Progress(session, bounded=bounded)
    return call


def _attempt(call: ClientCall, wrapped: Callable[..., Response], args: Any, kwargs: Any) -> Response:
    outer, token = ongoing.get(), attach(call.context)
    ongoing.set(call)
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        guard(end, call, error)
        raise
    finally:
        ongoing.set(outer)
        detach(token)
    if call.progress.answer is None:
        # Else it is as it came: a hook may have put another in its place.
        call.progress.answer = response
    return response


def _after(setup: Setup, request: PreparedRequest, result: Response | BaseException) -> None:
    if setup.post_request is not None:
        guard(setup.post_request, request, result)


def _rebuild(wrapped: Callable[..., Any], session: Session, args: Any, kwargs: Any) -> Any:
    call = ongoing.get()
    if call is not None and call.progress.session is session:
        call.progress.answer = args[1] if len(args) > 1 else kwargs.get("response")
        call.progress.following = True
    return wrapped(*args, **kwargs)


def _adapter_send(wrapped: Callable[..., Response], adapter: object, args: Any, kwargs: Any) -> Response:
    call = ongoing.get()
    if call is None:
        return wrapped(*args, **kwargs)
    request = args[0] if args else kwargs["request"]
    if call.progress.bounded:
        args, kwargs = adapted_in_time(args, kwargs)
    if call.progress.adapted:
        # Once more within one send: authentication that answers a challenge does that.
        guard(next_attempt, call, request)
        return within(call, _adapt, call, request, wrapped, args, kwargs)
    return _adapt(call, request, wrapped, args, kwargs)


def _adapt(
    call: ClientCall, request: PreparedRequest, wrapped: Callable[..., Response], args: Any, kwargs: Any
) -> Response:
    call.progress.adapted = True
    call.progress.headers = request.headers
    try:
        # Of the attempt that is current by then: urllib3 may have made several.
        call.progress.answer = response = wrapped(*args, **kwargs)
    except BaseException as error:
        # Not the end yet: an adapter of the application's own may catch it and try again.
        call.progress.error = passed_in(error) or error
        if call.progress.error is error:
            raise
        raise call.progress.error from None
    return response
