"""Which libraries an application started here would have instrumented, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from os import environ
from typing import Any

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS

from hopline._settings import comma_separated
from hopline.http.config import HttpConfig
from hopline.logging._config import LoggingConfig

# What reads an instrumentor's settings, and warns of those that cannot be used.
_READERS: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
    "aiohttp-client": partial(HttpConfig.of_client, "AIOHTTP_CLIENT"),
    "aiohttp-server": partial(HttpConfig.of_server, "AIOHTTP_SERVER"),
    "asgi": partial(HttpConfig.of_server, "ASGI"),
    "logging": LoggingConfig.of,
    "requests": partial(HttpConfig.of_client, "REQUESTS"),
    "wsgi": partial(HttpConfig.of_server, "WSGI"),
}


def instrumentors() -> Iterator[str]:
    """Say of each of hopline's instrumentors whether it would be at work."""
    for entry_point in sorted(entry_points(group="opentelemetry_instrumentor"), key=lambda each: each.name):
        if entry_point.dist is not None and entry_point.dist.name == "hopline":
            yield f"{'instruments ' + entry_point.name:30}{_answer(entry_point)}"


def _answer(entry_point: EntryPoint) -> str:
    disabled = comma_separated(environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, ""))
    if "*" in disabled or entry_point.name in disabled:
        return f"no, disabled by {OTEL_PYTHON_DISABLED_INSTRUMENTATIONS}"
    needed = entry_point.load()().instrumentation_dependencies()
    if get_dependency_conflicts(needed) is not None:
        return f"no, that needs {' '.join(needed)}"
    if entry_point.name in _READERS:
        _READERS[entry_point.name]({})
    return "yes"
