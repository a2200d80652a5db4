"""Header fields: those we put on a request, and those the user wants to see on the span."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

from hopline._guard import guard
from hopline._on_import import when_imported

Headers = MutableMapping[str, str]

REDACTED = "[REDACTED]"


class Injected(str):
    """A header value that we set.

    The type is the mark: it travels with the value when a library copies a request for a redirect or an
    authentication resend, so what is the user's and what may be refreshed can always be told apart. A pickle, which
    may be read where there is no hopline, has only the value.
    """

    __slots__ = ()

    def __copy__(self) -> Injected:
        return self

    def __deepcopy__(self, memo: object) -> Injected:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def _represent_in(module: str) -> None:
    """Have YAML write our values as the text that they are; by itself it refuses a type that it does not know."""
    for representer in _with_own_types(sys.modules[module].SafeRepresenter):
        representer.add_representer(Injected, lambda dumper, value: dumper.represent_str(str(value)))


def _with_own_types(representer: Any) -> Iterator[Any]:
    if "yaml_representers" in vars(representer):
        yield representer
    for derived in representer.__subclasses__():
        yield from _with_own_types(derived)


# Applications write header fields down, in the cassettes of vcrpy for instance.
for _module in ("yaml.representer", "ruamel.yaml.representer"):
    when_imported((_module,), partial(guard, _represent_in, _module))


def place(values: Mapping[str, str], fields: frozenset[str], headers: Headers) -> Collection[str]:
    """Put ``values`` into ``headers``, and nothing else of ours.

    Args:
        values: the fields to send.
        fields: the lower-case names of all fields that could be ours; one that an earlier attempt left behind is
            replaced, or taken away when it is not in ``values``.
        headers: the request's header; a field that the user set there stays as it is.

    Returns:
        The lower-case names of the fields that the user set.
    """
    users: Collection[str] = ()
    # Where requests' CaseInsensitiveDict keeps its fields, by just these names: 0.8 µs less than to go through them.
    store = getattr(headers, "_store", None)
    present = fields.intersection(store if isinstance(store, dict) else map(str.lower, headers))
    if present:
        ours = [field for field in present if type(headers[field]) is Injected]
        for field in ours:
            del headers[field]
        users = present.difference(ours)
        values = {name: value for name, value in values.items() if name.lower() not in users}
    for name, value in values.items():
        headers[name] = Injected(value)
    return users


def withdraw(headers: Headers) -> None:
    """Take from ``headers`` whatever of ours an earlier attempt left there."""
    for name in [name for name, value in headers.items() if type(value) is Injected]:
        del headers[name]


def recognise(before: Headers, headers: Headers) -> None:
    """Mark again what we set, where a library has written it anew for the next attempt, as oauthlib does, in bytes.

    Args:
        before: the header of the attempt before.
        headers: that of the next one, changed in place.
    """
    ours = {str(value) for value in before.values() if type(value) is Injected}
    for name, value in list(headers.items()):
        if type(value) is not Injected and _text(value) in ours:
            headers[name] = Injected(_text(value))


def renew(headers: Headers, sent: Headers) -> None:
    """Put in the place of whatever of ours is in ``headers`` what a later attempt, made of a copy, has ``sent``."""
    ours = {name: value for name, value in sent.items() if type(value) is Injected}
    withdraw(headers)
    headers.update(ours)


class CapturedHeaders:
    """The header fields that become span attributes.

    Args:
        prefix: ``http.request.header`` or ``http.response.header``.
        names: matches, in any case, the names of the fields to capture.
        sanitized: matches the names whose values are replaced by ``[REDACTED]``.
    """

    __slots__ = ("_names", "_prefix", "_sanitized")

    def __init__(self, prefix: str, names: re.Pattern[str], sanitized: re.Pattern[str] | None) -> None:
        self._prefix = prefix
        self._names = names
        self._sanitized = sanitized

    def attributes(self, headers: Mapping[str, str]) -> dict[str, list[str]]:
        """The attributes for ``headers``: ``<prefix>.<name in lower case>``, each a list of values."""
        return self.of_fields(headers.items())

    def of_fields(self, fields: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
        """The attributes for header ``fields``, each a name and a value; a name may come more than once."""
        captured: dict[str, list[str]] = {}
        for field, value in fields:
            name = _text(field)
            if self._names.fullmatch(name):
                hidden = self._sanitized is not None and self._sanitized.search(name)
                values = captured.setdefault(f"{self._prefix}.{name.lower()}", [])
                values.append(REDACTED if hidden else _text(value))
        return captured


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
