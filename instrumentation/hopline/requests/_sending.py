"""What happens around ``Session.send``: one call, with an attempt for each redirect hop that it follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry.context import attach, detach

from hopline._guard import guard
from hopline._patch import Patch
from hopline.http.call import ClientCall, ongoing_call
from hopline.http.client import ClientTelemetry

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

_VERSIONS = {10: "1.0", 11: "1.1", 20: "2"}


class Sending:
    """The patches of requests, and which telemetry each session has."""

    def __init__(self) -> None:
        self._for_all: ClientTelemetry | None = None
        self._for_session: WeakKeyDictionary[Session, ClientTelemetry | None] = WeakKeyDictionary()
        self._patches = (
            Patch("requests.sessions", "Session.send", self._send),
            Patch("requests.sessions", "SessionRedirectMixin.resolve_redirects", _resolve_redirects),
        )

    def instrument_all(self, telemetry: ClientTelemetry) -> None:
        """Tell of every session, of those made earlier too."""
        self._for_all = telemetry
        for patch in self._patches:
            patch.apply()

    def uninstrument_all(self) -> None:
        """Tell of no session any more."""
        if self._for_all is not None:
            self._for_all.close()
        self._for_all = None
        for patch in self._patches:
            patch.remove()

    def uninstrument_session(self, session: Session) -> None:
        """Do not tell of one session."""
        self._for_session[session] = None

    def _send(self, wrapped: Callable[..., Response], session: Session, args: Any, kwargs: Any) -> Response:
        request = args[0] if args else kwargs.get("request")
        outer = ongoing_call()
        if outer is not None and outer.owner is session and outer.answer is not None:
            guard(_next_hop, outer, request)
            outer.answer = response = _attempt(outer, wrapped, args, kwargs)
            outer.stop()
            return response
        call = guard(self._start, session, request)
        if call is None:
            return wrapped(*args, **kwargs)
        response = _attempt(call, wrapped, args, kwargs)
        guard(_finish, call, response)
        return response

    def _start(self, session: Session, request: PreparedRequest) -> ClientCall | None:
        telemetry = self._for_all
        if self._for_session:
            telemetry = self._for_session.get(session, telemetry)
        # What is not a prepared request is for requests itself to refuse.
        if telemetry is None or not isinstance(getattr(request, "url", None), str):
            return None
        call = telemetry.start(*_line_and_header(request))
        if call is not None:
            call.owner = session
        return call


def _resolve_redirects(wrapped: Callable[..., Any], session: Session, args: Any, kwargs: Any) -> Any:
    call = ongoing_call()
    # Called by `send` on each answer; with yield_requests only to prepare the next request, not to send it.
    if call is not None and call.owner is session and not kwargs.get("yield_requests"):
        call.answer = args[0] if args else kwargs.get("resp")
    return wrapped(*args, **kwargs)


def _attempt(call: ClientCall, wrapped: Callable[..., Response], args: Any, kwargs: Any) -> Response:
    token = attach(call.context)
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        guard(_fail, call, error)
        raise
    finally:
        detach(token)


def _next_hop(call: ClientCall, request: PreparedRequest) -> None:
    answer, call.answer = call.answer, None
    _finish(call, answer)
    call.resend(*_line_and_header(request))


def _finish(call: ClientCall, response: Response) -> None:
    call.finish(_status(response), _version(response), response.headers, response)


def _fail(call: ClientCall, error: BaseException) -> None:
    answer = call.answer or getattr(error, "response", None)
    if answer is None:
        call.fail(error)
    else:
        call.fail(error, _status(answer), _version(answer))


def _line_and_header(request: PreparedRequest) -> tuple[str, str, Any, PreparedRequest]:
    headers: Any = request.headers
    if headers is None:
        # Only where the application filled in a PreparedRequest by hand; requests takes it either way.
        from requests.structures import CaseInsensitiveDict

        request.headers = headers = CaseInsensitiveDict()
    return request.method or "", request.url or "", headers, request


def _status(response: Response) -> int | None:
    status = response.status_code
    return status if isinstance(status, int) else None


def _version(response: Response) -> str | None:
    return _VERSIONS.get(getattr(response.raw, "version", 0))
