"""The deadline of the request that is being served bounds how long aiohttp may take."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn

from hopline._guard import guard
from hopline.context import current_deadline
from hopline.deadline import DeadlineExceeded

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientTimeout


def in_time(session: ClientSession, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a request, with a total timeout of at most what is left until the deadline.

    That of a session that is left alone may take as long as it likes.

    Raises:
        DeadlineExceeded: if the deadline has passed.
    """
    deadline = current_deadline()
    if deadline is None or guard(_is_left_alone, session):
        return arguments
    timeout = guard(_bounded, session, arguments.get("timeout", ...), deadline.left())
    return arguments if timeout is None else {**arguments, "timeout": timeout}


async def refuse(error: DeadlineExceeded) -> NoReturn:
    """A request in whose place the caller gets ``error``, where it awaits it."""
    raise error


def _is_left_alone(session: ClientSession) -> bool:
    return any(getattr(config, "telemetry", config) is None for config in session._trace_configs)


def _bounded(session: ClientSession, given: object, left: float) -> ClientTimeout:
    from aiohttp import ClientTimeout

    if given is None or isinstance(given, (int, float)):
        given = ClientTimeout(total=given)
    # Not the property, which a subclass may have for something else.
    timeout = given if isinstance(given, ClientTimeout) else session._timeout
    return ClientTimeout(
        total=min(timeout.total or left, left),  # aiohttp takes 0 for no timeout, as None
        connect=timeout.connect,
        sock_read=timeout.sock_read,
        sock_connect=timeout.sock_connect,
        ceil_threshold=inf,  # no rounding up to whole seconds, which could end after the deadline
    )
