"""hopline follows one request through every hop: a span, a request id and a statsd line each.

Importing it imports no HTTP library, and little else: each name's module is imported when the name is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hopline._version import __version__

if TYPE_CHECKING:
    from hopline._detached import detached
    from hopline.context import Context
    from hopline.deadline import DeadlineExceeded
    from hopline.hints import expected_status, url_template
    from hopline.hosts import register_host_name
    from hopline.requests import get_session

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

_MODULES = {
    "Context": "context",
    "DeadlineExceeded": "deadline",
    "detached": "_detached",
    "expected_status": "hints",
    "get_session": "requests",
    "register_host_name": "hosts",
    "url_template": "hints",
}

if not TYPE_CHECKING:  # to whom any name would seem to be there

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value
