"""``hopline doctor``: what an application started here would get, and what stands in its way."""

from __future__ import annotations

import logging
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from os import environ
from urllib.parse import urlsplit

from opentelemetry import propagate
from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from hopline.distro import DEFERRED_OTLP, HoplineDistro, chosen_exporters
from hopline_statsd.config import StatsdConfig
from hopline_statsd.endpoint import Endpoint

_PACKAGES = ("hopline", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation", "wrapt")
_LOADED_ONCE = ("opentelemetry_distro", "opentelemetry_configurator")
_CONNECT_SECONDS = 1.0


def run() -> int:
    """Print the report.

    Returns:
        The exit status: 1 if anything stands in the way.
    """
    with _warnings() as problems:
        report = [
            *_packages(),
            *_exporters(problems),
            f"propagated headers    {', '.join(_propagated())}",
            *_instrumentors(),
        ]
        problems.extend(_rivals())
    _say("\n".join(report))
    for problem in problems:
        _say(f"! {problem}")
    return 1 if problems else 0


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what hopline warns of while it reads its settings."""
    problems: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: problems.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("hopline", "hopline_statsd")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield problems
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _packages() -> Iterator[str]:
    yield f"{'Python':30}{platform.python_version()}"
    for package in _PACKAGES:
        yield f"{package:30}{version(package)}"


def _exporters(problems: list[str]) -> Iterator[str]:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        problems.append("OTEL_SDK_DISABLED=true: nothing is instrumented and nothing exported")
    for signal, names in chosen_exporters().items():
        shown = ["otlp over http" if name == DEFERRED_OTLP else name for name in names]
        yield f"{signal + ' go to':22}{', '.join(shown) or 'nowhere'}"
        if DEFERRED_OTLP in names:
            url = _otlp_url(signal)
            yield f"{'':22}{url}"
            problems += _unreachable(url)
        if "statsd" in names:
            config = StatsdConfig.from_environment()
            prefix = config.prefix or environ.get("OTEL_SERVICE_NAME") or "unknown_service"
            yield f"{'':22}{config.endpoint}, prefix {prefix}, dialect {config.dialect}"
            problems += _unresolvable(Endpoint.parse(config.endpoint))


def _otlp_url(signal: str) -> str:
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318").rstrip("/")
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") or f"{base}/v1/{signal}"


def _unreachable(url: str) -> list[str]:
    try:
        parsed = urlsplit(url)
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        socket.create_connection((parsed.hostname or "", port), _CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        return [f"{url} cannot be connected to ({error})"]
    return []


def _unresolvable(endpoint: Endpoint) -> list[str]:
    try:
        if endpoint.host:
            socket.getaddrinfo(endpoint.host, endpoint.port)
    except OSError as error:
        return [f"{endpoint} cannot be resolved ({error})"]
    return []


def _propagated() -> list[str]:
    HoplineDistro().configure()
    return sorted(propagate.get_global_textmap().fields) or ["none"]


def _instrumentors() -> Iterator[str]:
    for entry_point in sorted(entry_points(group="opentelemetry_instrumentor"), key=lambda each: each.name):
        if entry_point.dist is None or entry_point.dist.name != "hopline":
            continue
        needed = entry_point.load()().instrumentation_dependencies()
        answer = "yes" if get_dependency_conflicts(needed) is None else f"no, that needs {' '.join(needed)}"
        yield f"{'instruments ' + entry_point.name:30}{answer}"


def _rivals() -> list[str]:
    """Other distributions: the loader takes the first that it meets."""
    return [
        f"{entry_point.dist.name} brings {group} {entry_point.name!r} too; set {_choice(group)}=hopline"
        for group in _LOADED_ONCE
        for entry_point in entry_points(group=group)
        if entry_point.dist is not None and entry_point.dist.name != "hopline" and not environ.get(_choice(group))
    ]


def _choice(group: str) -> str:
    return {"opentelemetry_distro": "OTEL_PYTHON_DISTRO", "opentelemetry_configurator": "OTEL_PYTHON_CONFIGURATOR"}[
        group
    ]


def _say(text: str) -> None:
    print(text)  # noqa: T201 - what the command is for
