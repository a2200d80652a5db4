"""The keyword arguments of the public functions: which there are, and what can be used as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypedDict

from hopline._settings import boolean, comma_separated

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

Hook = Callable[..., Any]
Texts = str | Iterable[str]


class ProvidersAndHooks(TypedDict, total=False):
    """What telemetry is made with, and who else hears of it."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    request_hook: Hook | None
    response_hook: Hook | None


class Settings(TypedDict, total=False):
    """The settings of clients and servers."""

    excluded_urls: Texts | None
    captured_request_headers: Texts | None
    captured_response_headers: Texts | None
    sensitive_headers: Texts | None
    duration_histogram_boundaries: Iterable[float] | None


class ClientSettings(Settings, total=False):
    """The settings of clients."""

    propagate_trace: Texts | None
    propagate_baggage: Texts | None
    propagate_request_id: Texts | None
    propagate_deadline: Texts | None
    propagate_to_excluded: bool | None
    url_templates: Texts | None
    expected_statuses: Mapping[str, Iterable[int]] | None
    body_sizes: bool | None


class ClientArguments(ClientSettings, ProvidersAndHooks, total=False):
    """The arguments of what instruments the sessions of a client."""


class ServerArguments(Settings, ProvidersAndHooks, total=False):
    """The arguments of the middlewares."""

    trust_forwarded: bool | None


def refuse_unknown(function: str, given: Iterable[str], known: type[Settings]) -> None:
    """Refuse an argument that a function does not have, such as one that is misspelt.

    Args:
        function: its name.
        given: the names of its keyword arguments.
        known: the arguments that it has.

    Raises:
        TypeError: if there is one.
    """
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"{function} has no argument {name!r}")


def texts(name: str, argument: Texts) -> tuple[str, ...]:
    """A list of texts, or one text with commas, as a tuple.

    Raises:
        ValueError: if it is neither.
    """
    entries = comma_separated(argument) if isinstance(argument, str) else argument
    if isinstance(entries, Iterable):
        entries = tuple(entries)
        if all(isinstance(entry, str) for entry in entries):
            return entries
    raise ValueError(f"{name}={argument!r} is neither a text nor a list of texts")


def hook(name: str, argument: object) -> Hook | None:
    """A hook, or None.

    Raises:
        ValueError: if it cannot be called.
    """
    if argument is None or callable(argument):
        return argument
    raise ValueError(f"{name}={argument!r} is no function")


def switch(name: str, argument: object) -> bool:
    """True or false, which may also be written as a text, as environment variables have it.

    Raises:
        ValueError: if it is neither.
    """
    with suppress(ValueError):
        if isinstance(argument, str):
            return boolean(argument)
        if argument in (True, False):
            return bool(argument)
    raise ValueError(f"{name}={argument!r} is neither true nor false")


def boundaries(name: str, argument: Any) -> tuple[float, ...]:
    """The boundaries of a histogram's buckets.

    Raises:
        ValueError: if they are no numbers, each greater than the one before.
    """
    try:
        numbers = tuple(map(float, argument))
    except (TypeError, ValueError):
        numbers = ()
    if numbers and all(low < high for low, high in pairwise(numbers)):
        return numbers
    raise ValueError(f"{name}={argument!r} is no list of numbers in ascending order")
