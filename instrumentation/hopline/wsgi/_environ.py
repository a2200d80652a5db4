"""What an ``environ`` says of a request, and what is put into it for the application."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from hopline.http.server_request import ServerRequest, encoded

_WITHOUT_PREFIX = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class WsgiRequest(ServerRequest):
    """A request as its ``environ`` (PEP 3333) describes it."""

    __slots__ = ("_environ",)

    def __init__(self, environ: dict[str, Any]) -> None:
        get = environ.get
        path = f"{get('SCRIPT_NAME', '')}{get('PATH_INFO', '')}"
        self._environ = environ
        self.method = get("REQUEST_METHOD", "")
        self.scheme = get("wsgi.url_scheme", "http")
        # The server has decoded it from bytes, and the bytes as Latin-1: a percent sign in it is one.
        self.path = encoded(path.replace("%", "%25"))
        self.query = get("QUERY_STRING", "")
        self.server = (get("SERVER_NAME"), _number(get("SERVER_PORT")))
        self.peer = (get("REMOTE_ADDR"), _number(get("REMOTE_PORT")))
        self.version = get("SERVER_PROTOCOL", "").partition("/")[2] or None

    def values(self, name: str) -> list[str]:
        """The value of the header field ``name``: a server joins several into one."""
        name = name.lower()
        value = self._environ.get(_WITHOUT_PREFIX.get(name) or f"HTTP_{name.upper().replace('-', '_')}")
        return [value] if isinstance(value, str) else []

    def fields(self) -> Iterable[tuple[str, str]]:
        """All header fields."""
        for name, value in self._environ.items():
            if name.startswith("HTTP_") and isinstance(value, str):
                yield name[5:].lower().replace("_", "-"), value
        for field, name in _WITHOUT_PREFIX.items():
            if self._environ.get(name):
                yield field, self._environ[name]


class ThreadSession:
    """Stands for the configured ``requests`` session of whatever thread uses it, which is made when first used.

    It is what ``environ["requests"]`` holds; requests is not imported before it is used.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            # What `isinstance` asks for, and gevent of all objects to find locks: that is no use of the session.
            return getattr(sys.modules.get("requests"), "Session", ThreadSession)
        return getattr(_session(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_session(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_session(), name)


SESSION = ThreadSession()


def checked(wrapped: Callable[..., Any], _module: object, args: Any, kwargs: Any) -> Any:
    """Wraps what checks whether an ``environ`` is as PEP 3333 has it: the session is not there, as it is no text."""
    if args and type(args[0]) is dict:
        args = ({name: value for name, value in args[0].items() if value is not SESSION}, *args[1:])
    return wrapped(*args, **kwargs)


def _session() -> Any:
    # By the public face, as the application itself would: no library room knows another one.
    from hopline import get_session

    return get_session()


def _number(text: object) -> int | None:
    if isinstance(text, int):
        return text
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None
