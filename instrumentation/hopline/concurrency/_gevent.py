"""gevent: every greenlet, and the threads of the hub's pool; and a word where monkey-patching comes too late."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from logging import getLogger
from types import ModuleType
from typing import Any

from hopline._guard import guard
from hopline._patch import Patch, Patches
from hopline.concurrency._carry import call_in_copy, give, give_to_result

_logger = getLogger("hopline.concurrency")

_NETWORKING = ("requests", "urllib3")


def patches() -> Patches:
    """The patches."""
    return Patches(
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
    if kwargs.get("ssl", True) and not monkey.is_module_patched("ssl"):
        early = guard(_too_early)
        if early:
            _warn(early)
    return wrapped(*args, **kwargs)


def _too_early() -> str:
    """The packages that have been imported and have taken what patching replaces."""
    ssl = sys.modules.get("ssl")
    early = {name for name in _NETWORKING if name in sys.modules}
    if ssl is not None:
        context = ssl.SSLContext
        # Having imported ssl itself is no harm: it is patched in place.
        early.update(_package(name) for name, each in _modules() if vars(each).get("SSLContext") is context)
    return ", ".join(sorted(early - {"ssl", "gevent"}))


def _modules() -> list[tuple[str, ModuleType]]:
    return [(name, module) for name, module in list(sys.modules.items()) if isinstance(module, ModuleType)]


def _package(name: str) -> str:
    return name.partition(".")[0]


@cache
def _warn(early: str) -> None:
    _logger.warning(
        "gevent.monkey.patch_all() came after the import of %s: TLS and connections made with what was imported may "
        "fail or block all greenlets. Call it before anything else is imported.",
        early,
    )
