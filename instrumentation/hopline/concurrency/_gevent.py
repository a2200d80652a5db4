"""gevent: every greenlet, and the threads of the hub's pool; and a word where monkey-patching comes too late."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from logging import getLogger
from typing import Any

from hopline._guard import guard
from hopline._patch import Patch
from hopline.concurrency._carry import call_in_copy, give, give_to_result

_logger = getLogger("hopline.concurrency")

_EARLY = ("requests", "urllib3", "ssl")


def patches() -> tuple[Patch, ...]:
    """The patches."""
    return (
        SpawnCallback(),
        Patch("gevent", "spawn_raw", give_to_result),
        Patch("gevent.hub", "spawn_raw", give_to_result),
        Patch("gevent.threadpool", "ThreadPool.spawn", call_in_copy),
        Patch("gevent.monkey", "patch_all", _patch_all),
    )


class SpawnCallback(Patch):
    """Has gevent call us for each greenlet that is started, of whatever class, by whatever means."""

    def __init__(self) -> None:
        super().__init__("gevent", "Greenlet.start", give_to_result)

    def remove(self) -> None:
        """Be called no more."""
        self._applied = False
        gevent: Any = sys.modules.get(self._module)
        if gevent is not None:
            gevent.Greenlet.remove_spawn_callback(_started)

    def _install(self, module: Any) -> None:
        module.Greenlet.add_spawn_callback(_started)


def _started(greenlet: Any) -> None:
    guard(give, greenlet)


def _patch_all(wrapped: Callable[..., Any], module: object, args: Any, kwargs: Any) -> Any:
    monkey: Any = sys.modules["gevent.monkey"]
    early = [name for name in _EARLY if name in sys.modules]
    if early and kwargs.get("ssl", True) and not monkey.is_module_patched("ssl"):
        _warn(", ".join(early))
    return wrapped(*args, **kwargs)


@cache
def _warn(early: str) -> None:
    _logger.warning(
        "gevent.monkey.patch_all() came after the import of %s: TLS and connections made with what was imported may "
        "fail or block all greenlets. Call it before anything else is imported.",
        early,
    )
