"""Hosts by pattern and by name: which ones a list of globs matches, and what the application calls them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

_GLOB = re.compile(r"!?(?:[A-Za-z0-9*?._-]+|[0-9A-Fa-f:*?]+)")


def bare(host: str) -> str:
    """``host`` without the dot at the end that makes a name absolute: it is the same host."""
    return host.removesuffix(".")


class HostGlobs:
    """A list of host patterns: ``*.internal``, ``api.example.com``, ``!secret.internal``.

    ``*`` stands for any run of characters, dots included, ``?`` for one. An entry with ``!`` denies, whatever the
    others allow; a list of nothing but denials allows every other host.

    Args:
        entries: the patterns; their case does not matter.

    Raises:
        ValueError: if an entry is not a host pattern.
    """

    __slots__ = ("_allowed", "_denied", "_entries")

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = tuple(entries)
        for entry in self._entries:
            if not _GLOB.fullmatch(entry):
                raise ValueError(f"{entry!r} is not a host pattern such as 'api.example.com' or '*.internal'")
        denied = [bare(entry[1:]) for entry in self._entries if entry.startswith("!")]
        allowed = [bare(entry) for entry in self._entries if not entry.startswith("!")]
        self._denied = _any(denied)
        self._allowed = _any(allowed or (["*"] if denied else []))

    def match(self, host: str) -> bool:
        """Whether ``host``, in lower case and without a dot at its end, is one of them."""
        return self._allowed(host) and not self._denied(host)

    def __repr__(self) -> str:
        return ",".join(self._entries) or "none"


def _any(globs: list[str]) -> Callable[[str], bool]:
    if not globs:
        return lambda host: False
    match = re.compile("|".join(translate(glob.lower()) for glob in globs)).match
    return lambda host: match(host) is not None


class HostNames:
    """What the application calls its hosts.

    Attributes:
        version: changes with each registration, for those who keep what depends on names.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.version = 0

    def register(self, host: str, name: str) -> None:
        """Call ``host`` (``10.0.3.7:8000``, ``[::1]:8000``, or for all ports without) by ``name`` from now on."""
        self._names[bare(host.lower().replace("[", "").replace("]", "").replace(".:", ":"))] = name
        self.version += 1

    def of(self, host: str, port: int | None) -> str | None:
        """The name of a host and port, or None."""
        return self._names.get(f"{host}:{port}") or self._names.get(host)


host_names = HostNames()


def register_host_name(host: str, name: str) -> None:
    """Give a host a name for telemetry: the attribute ``peer.service`` of spans and metrics, and the statsd name.

    Args:
        host: a host name or address, with a port (``10.0.3.7:8000``) or, for all its ports, without.
        name: what it is called, for instance ``billing``.
    """
    host_names.register(host, name)
