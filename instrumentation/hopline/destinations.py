"""Where a request goes: everything that can be known about an origin before a request is made, made once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hopline._locks import lasting_lock
from hopline.hosts import HostGlobs, bare, host_names

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MAX_ORIGINS = 16_384
_PATH_END = re.compile(r"[?#]|$")

# Which kind of propagated header a field is; any other belongs to the trace (traceparent, tracestate, b3, …).
_KINDS = {"baggage": "baggage", "x-request-id": "request_id", "x-request-deadline": "deadline"}
KINDS = ("trace", *_KINDS.values())


class UrlTemplate:
    """A rule that names URLs: ``api.example.com/users/{id}`` matches ``https://api.example.com/users/17?x=1``.

    Args:
        rule: a host pattern and a path in which each ``{name}`` stands for one segment or a part of one.

    Raises:
        ValueError: if the rule has no path, or its host is not a pattern.

    Attributes:
        template: the path, the value of ``url.template``.
    """

    __slots__ = ("_hosts", "_path", "template")

    def __init__(self, rule: str) -> None:
        host, slash, path = rule.partition("/")
        if not slash:
            raise ValueError(f"{rule!r} is not a rule such as 'api.example.com/users/{{id}}'")
        self._hosts = HostGlobs((host or "*",))
        self.template = slash + path
        literals = re.split(r"\{[^{}/]*\}", self.template)
        self._path = re.compile("[^/]+".join(map(re.escape, literals)))

    def applies_to(self, host: str) -> bool:
        """Whether the rule speaks of ``host``."""
        return self._hosts.match(host)

    def match(self, path: str) -> bool:
        """Whether ``path``, without a query, is of this form."""
        return self._path.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """What one configuration says about destinations.

    Attributes:
        propagation: by kind of header (see ``KINDS``), the hosts that may receive it; a kind without an entry may
            go everywhere.
        templates: the rules that name URLs; the first that matches counts.
        expected: the statuses that are no error, by hosts.
    """

    propagation: Mapping[str, HostGlobs] = field(default_factory=dict)
    templates: tuple[UrlTemplate, ...] = ()
    expected: tuple[tuple[HostGlobs, frozenset[int]], ...] = ()


class Destination:
    """One origin: scheme, host and port.

    Attributes:
        scheme: in lower case, for instance ``https``.
        host: the host name or IP address, in lower case, without brackets and without the dot at the end of an absolute
            name; empty if the URL has none.
        port: the port, the scheme's default one if the URL names none, or None if there is no default.
        name: what the application calls the host, or None.
        denied: the kinds of headers (see ``KINDS``) that this host may not receive.
        expected: the statuses that are no error here.
        templates: the rules that may name a URL here.
        operations: what :mod:`hopline.http` has prepared for this destination, by method and URL template.
    """

    __slots__ = ("denied", "expected", "host", "name", "operations", "port", "scheme", "templates")

    def __init__(self, scheme: str, host: str, port: int | None, rules: DestinationRules) -> None:
        self.scheme = scheme
        self.host = host
        self.port = _DEFAULT_PORTS.get(scheme) if port is None else port
        self.name = host_names.of(host, self.port)
        self.expected = frozenset[int]().union(*(codes for hosts, codes in rules.expected if hosts.match(host)))
        self.operations: dict[tuple[str, str | None], Any] = {}
        self.denied = frozenset(kind for kind, hosts in rules.propagation.items() if not hosts.match(host))
        self.templates = tuple(each for each in rules.templates if each.applies_to(host))

    def permitted(self, fields: Mapping[str, str]) -> Mapping[str, str]:
        """Those of ``fields``, headers to propagate, that this host may receive."""
        return {name: value for name, value in fields.items() if _kind(name) not in self.denied}

    def template(self, url: str) -> str | None:
        """The template of ``url``, by the configured rules."""
        start = url.find("/", url.find("://") + 3)
        path = "/" if start < 0 else url[start : _PATH_END.search(url, start).start()]  # type: ignore[union-attr]
        return next((each.template for each in self.templates if each.match(path)), None)


# One for all, of any client: it is had for a moment, when something is new.
_adding = lasting_lock()


class Destinations:
    """The destinations met so far, by origin: one dictionary look-up for each that was met before. Bounded.

    Args:
        rules: what the configuration says about them.
    """

    __slots__ = ("_by_origin", "_names_version", "_rules")

    def __init__(self, rules: DestinationRules) -> None:
        self._rules = rules
        self._by_origin: dict[str, Destination] = {}
        self._names_version = host_names.version

    def of(self, url: str) -> Destination:
        """The destination of ``url``; for one that cannot be parsed, a destination without a host."""
        # The slash that ends the authority: "http://" is 7 characters long, and no authority is empty.
        end = url.find("/", 8)
        origin = url if end < 0 else url[:end]
        if self._names_version != host_names.version:
            self._forget()
        return self._by_origin.get(origin) or self._met(origin)

    def _met(self, origin: str) -> Destination:
        version = host_names.version
        key, destination = self._parse(origin)
        with _adding:
            if host_names.version != version:
                return destination  # a host got its name meanwhile: not to be kept
            known = self._by_origin.setdefault(key, destination)
            if len(self._by_origin) > _MAX_ORIGINS:
                del self._by_origin[next(iter(self._by_origin))]
        return known

    def _forget(self) -> None:
        with _adding:
            self._names_version = host_names.version
            self._by_origin.clear()

    def _parse(self, origin: str) -> tuple[str, Destination]:
        try:
            parsed = urlsplit(origin)
            host, port = bare(parsed.hostname or ""), parsed.port
        except ValueError:
            scheme = origin.partition("://")[0].lower()
            return f"{scheme}://", Destination(scheme, "", None, self._rules)
        # Only the plain form is a key: what else stands in `origin` may be a secret, or different each time.
        key = f"{parsed.scheme}://{parsed.netloc.rpartition('@')[2]}"
        return key, Destination(parsed.scheme, host, port, self._rules)


def _kind(name: str) -> str:
    return _KINDS.get(name.lower(), "trace")
