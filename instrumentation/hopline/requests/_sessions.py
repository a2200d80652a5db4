"""Instrumented sessions: one that the application has made, or one for each thread."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import finalize

from hopline.http.arguments import ClientArguments, refuse_unknown
from hopline.requests._instrumentation import instrumentation, make_telemetry
from hopline.requests._sending import PostRequest, PreRequest, Setup

if TYPE_CHECKING:
    from requests import Session
    from typing_extensions import Unpack

    S = TypeVar("S", bound=Session)
else:
    S = TypeVar("S")


def configure(
    session: S,
    *,
    pre_request: PreRequest | None = None,
    post_request: PostRequest | None = None,
    **telemetry: Unpack[ClientArguments],
) -> S:
    """Instrument one session, whether or not all are: its requests make spans and metrics and carry ids.

    It is instrumented once, even where ``RequestsInstrumentor().instrument()`` covers all sessions.

    Args:
        session: any session; it is not subclassed, and no attribute of it changes.
        pre_request: called with each prepared request before it is sent; a prepared request that it returns is
            sent in its place.
        post_request: called with each prepared request and its response, or the exception that came instead.
        **telemetry: the keyword arguments of ``RequestsInstrumentor().instrument()``, for this session only; without
            any it shares the telemetry of all sessions.

    Returns:
        The session.

    Raises:
        TypeError: if there is no argument of a name.
        ValueError: if an argument cannot be used.
    """
    refuse_unknown("configure", telemetry, ClientArguments)
    with instrumentation.changing:  # between the two, all sessions could come to be instrumented otherwise
        told_to = make_telemetry(telemetry) if telemetry else instrumentation.default_telemetry()
        instrumentation.set_up(session, Setup(told_to, pre_request, post_request, follows=not telemetry))
    return session


def uninstrument_session(session: Session) -> None:
    """Stop instrumenting one session; others go on. :func:`configure` starts again.

    Args:
        session: the session to leave alone from now on.
    """
    instrumentation.set_up(session, Setup(telemetry=None))


class _Sessions:
    """The sessions of one thread, by class; closed when it ends."""

    def __init__(self) -> None:
        self.by_class: dict[type, Session] = {}
        finalize(self, _close_in, os.getpid(), self.by_class)


class _Local:
    """Where each thread keeps its own sessions.

    Made when it is first used, not when this module is imported: gevent and eventlet, whose patches the application
    may apply in between, have each greenlet keep its own.
    """

    _local: Any = None

    def sessions(self) -> dict[type, Session]:
        # In one step: two threads may come here first, and both are to keep what they get.
        local = self._local or vars(self).setdefault("_local", threading.local())
        held: _Sessions | None = getattr(local, "sessions", None)
        if held is None:
            held = local.sessions = _Sessions()
        return held.by_class

    def forget(self) -> None:
        """Begin anew in a forked process, which must not use the connections of its parent."""
        # Kept: to close them here would take locks that a thread of the parent may have held.
        self._inherited = vars(self).pop("_local", None)


_local = _Local()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_local.forget)


@overload
def get_session() -> Session: ...


@overload
def get_session(session_class: type[S]) -> S: ...


def get_session(session_class: type[Any] | None = None) -> Any:
    """This thread's own session, configured, made when first asked for; under gevent this greenlet's.

    A session is not safe to share between threads. One for each keeps connections alive where they are used; the
    sessions of a thread that has ended are closed.

    Args:
        session_class: the class of the session, made without arguments; ``requests.Session`` unless given.

    Returns:
        One instance of that class, always the same one in this thread.
    """
    if session_class is None:
        from requests import Session

        session_class = Session
    sessions = _local.sessions()
    if session_class not in sessions:
        sessions[session_class] = configured(session_class())
    return sessions[session_class]


def configured(session: S) -> S:
    """Instrument a session, unless whoever made it has said how, or that it is to be left alone."""
    return session if instrumentation.has_setup(session) else configure(session)


def clear() -> None:
    """Close this thread's sessions; the next :func:`get_session` makes a new one."""
    _close(_local.sessions())


def _close_in(process: int, sessions: dict[type, Session]) -> None:
    if os.getpid() == process:  # a child has copies of its parent's, whose connections are the parent's
        _close(sessions)


def _close(sessions: dict[type, Session]) -> None:
    while sessions:
        sessions.popitem()[1].close()
