"""hopline follows one request through every hop: a span, a request id and a statsd line each.

Importing it imports no HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hopline._detached import detached
from hopline._version import __version__
from hopline.context import Context
from hopline.deadline import DeadlineExceeded
from hopline.hints import expected_status, url_template
from hopline.hosts import register_host_name

__all__ = [
    "Context",
    "DeadlineExceeded",
    "__version__",
    "detached",
    "expected_status",
    "get_session",
    "register_host_name",
    "url_template",
]

if TYPE_CHECKING:
    from hopline.requests import get_session


def __getattr__(name: str) -> Any:
    # The sessions' room needs wrapt; it is opened by the first who asks for a session.
    if name == "get_session":
        from hopline.requests import get_session

        return get_session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
