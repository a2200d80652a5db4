"""What the environment and the keyword arguments of ``instrument()`` say, read once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import environ
from typing import Any

from hopline._settings import boolean, comma_separated, read
from hopline.destinations import KINDS, DestinationRules, UrlTemplate
from hopline.environment_variables import (
    OTEL_PYTHON_HOPLINE_BODY_SIZES,
    OTEL_PYTHON_HOPLINE_PROPAGATE_TO_EXCLUDED,
    OTEL_PYTHON_HOPLINE_TRUST_FORWARDED,
    OTEL_PYTHON_HOPLINE_URL_TEMPLATES,
)
from hopline.hosts import HostGlobs
from hopline.http.arguments import Hook, boundaries, hook, switch, texts
from hopline.http.attributes import KNOWN_METHODS, Words
from hopline.http.headers import CapturedHeaders

DURATION_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets, in seconds, that the semantic conventions specify for ``http.client.request.duration``."""


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """How one instrumentor tells what it sees.

    Attributes:
        words: the attribute names and methods.
        excluded: matches the URLs that get no span, or None.
        request_hook: called with the span and the library's request once the span has started, or None.
        response_hook: called with the span, the request and the response before the span ends, or None.
        request_headers: the request header fields to capture, or None.
        response_headers: the response header fields to capture, or None.
        boundaries: the duration histogram's buckets, in seconds.
        rules: what holds for which destination: propagation, templates, expected statuses.
        propagate_to_excluded: whether requests to excluded URLs carry trace context and ids.
        body_sizes: whether the sizes of request and response bodies are measured.
        trust_forwarded: whether a server believes what ``Forwarded`` and ``X-Forwarded-*`` say of the client.
        url_filter: makes of a URL the one to record, or None to record it as it is, without its secrets.
    """

    words: Words = field(default_factory=Words)
    excluded: re.Pattern[str] | None = None
    request_hook: Hook | None = None
    response_hook: Hook | None = None
    request_headers: CapturedHeaders | None = None
    response_headers: CapturedHeaders | None = None
    boundaries: tuple[float, ...] = DURATION_BOUNDARIES
    rules: DestinationRules = field(default_factory=DestinationRules)
    propagate_to_excluded: bool = True
    body_sizes: bool = False
    trust_forwarded: bool = False
    url_filter: Callable[[str], str] | None = None

    @classmethod
    def of_client(cls, library: str, arguments: Mapping[str, Any]) -> HttpConfig:
        """Read the configuration of an HTTP client's instrumentor.

        Args:
            library: its name in environment variables, for instance ``REQUESTS``.
            arguments: the keyword arguments of ``instrument()``; they win over the environment.
        """
        return replace(
            cls._of_either("CLIENT", library, arguments),
            rules=_rules(arguments),
            propagate_to_excluded=_switch(
                "propagate_to_excluded", arguments, OTEL_PYTHON_HOPLINE_PROPAGATE_TO_EXCLUDED, default=True
            ),
            body_sizes=_switch("body_sizes", arguments, OTEL_PYTHON_HOPLINE_BODY_SIZES, default=False),
        )

    @classmethod
    def of_server(cls, interface: str, arguments: Mapping[str, Any]) -> HttpConfig:
        """Read the configuration of an HTTP server's instrumentor.

        Args:
            interface: its name in environment variables, for instance ``WSGI``.
            arguments: the keyword arguments of ``instrument()`` or of the middleware; they win over the environment.
        """
        return replace(
            cls._of_either("SERVER", interface, arguments),
            trust_forwarded=_switch("trust_forwarded", arguments, OTEL_PYTHON_HOPLINE_TRUST_FORWARDED, default=False),
        )

    @classmethod
    def _of_either(cls, side: str, name: str, arguments: Mapping[str, Any]) -> HttpConfig:
        return cls(
            words=_words(),
            excluded=_excluded(name, arguments.get("excluded_urls")),
            request_hook=hook("request_hook", arguments.get("request_hook")),
            response_hook=hook("response_hook", arguments.get("response_hook")),
            request_headers=_captured(side, "request", arguments),
            response_headers=_captured(side, "response", arguments),
            boundaries=_boundaries(arguments),
        )


def _words() -> Words:
    opt_in = comma_separated(environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", ""))
    known = comma_separated(environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", ""))
    return Words(known_methods=frozenset(known) or KNOWN_METHODS, old_names="http/dup" in opt_in)


def _rules(arguments: Mapping[str, Any]) -> DestinationRules:
    templates = arguments.get("url_templates")
    return DestinationRules(
        propagation={kind: hosts for kind in KINDS if (hosts := _propagation(kind, arguments)) is not None},
        templates=read(OTEL_PYTHON_HOPLINE_URL_TEMPLATES, lambda text: _templates(comma_separated(text)), ())
        if templates is None
        else _templates(texts("url_templates", templates)),
        expected=_expected(arguments.get("expected_statuses") or {}),
    )


def _expected(argument: Mapping[str, Iterable[int]]) -> tuple[tuple[HostGlobs, frozenset[int]], ...]:
    try:
        return tuple(
            (HostGlobs(texts("hosts", hosts)), frozenset(map(int, codes))) for hosts, codes in argument.items()
        )
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"expected_statuses={argument!r} is no mapping such as {{'api.example.com': [404]}}") from None


def _propagation(kind: str, arguments: Mapping[str, Any]) -> HostGlobs | None:
    argument = arguments.get(f"propagate_{kind}")
    if argument is not None:
        return HostGlobs(texts(f"propagate_{kind}", argument))
    # A list with a mistake in it lets nobody receive the header: letting everybody would leak what it protects.
    variable = f"OTEL_PYTHON_HOPLINE_PROPAGATE_{kind.upper()}"
    return read(variable, lambda text: HostGlobs(comma_separated(text)), None, wrong=HostGlobs(()))


def _templates(rules: Iterable[str]) -> tuple[UrlTemplate, ...]:
    return tuple(UrlTemplate(rule) for rule in rules)


def _switch(name: str, arguments: Mapping[str, Any], variable: str, *, default: bool) -> bool:
    argument = arguments.get(name)
    return read(variable, boolean, default) if argument is None else switch(name, argument)


def _excluded(library: str, argument: str | Iterable[str] | None) -> re.Pattern[str] | None:
    if argument is not None:
        return _any_of(texts("excluded_urls", argument))
    general = read("OTEL_PYTHON_EXCLUDED_URLS", _patterns, None)
    return read(f"OTEL_PYTHON_{library}_EXCLUDED_URLS", _patterns, general)


def _captured(side: str, which: str, arguments: Mapping[str, Any]) -> CapturedHeaders | None:
    variable = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS"
    names = _field_names(f"captured_{which}_headers", arguments, f"{variable}_{side}_{which.upper()}")
    sanitized = _field_names("sensitive_headers", arguments, f"{variable}_SANITIZE_FIELDS")
    return None if names is None else CapturedHeaders(f"http.{which}.header", names, sanitized)


def _field_names(name: str, arguments: Mapping[str, Any], variable: str) -> re.Pattern[str] | None:
    argument = arguments.get(name)
    if argument is not None:
        return _any_of(texts(name, argument), re.IGNORECASE)
    return read(variable, _name_patterns, None)


def _boundaries(arguments: Mapping[str, Any]) -> tuple[float, ...]:
    name = "duration_histogram_boundaries"
    argument = arguments.get(name)
    return DURATION_BOUNDARIES if argument is None else boundaries(name, argument)


def _patterns(text: str) -> re.Pattern[str] | None:
    return _any_of(comma_separated(text))


def _name_patterns(text: str) -> re.Pattern[str] | None:
    return _any_of(comma_separated(text), re.IGNORECASE)


def _any_of(patterns: Iterable[str], flags: int = 0) -> re.Pattern[str] | None:
    either = "|".join(f"(?:{pattern})" for pattern in patterns)
    try:
        return re.compile(either, flags) if either else None
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
