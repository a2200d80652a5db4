"""``hopline doctor``: what an application started here would get, and what stands in its way."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points, version
from os import environ

from hopline.cli.doctor_words import NOTHING
from hopline.http.redaction import redact_text

_PACKAGES = ("hopline", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation", "wrapt")
_LOADED_ONCE = {
    "opentelemetry_distro": "OTEL_PYTHON_DISTRO",
    "opentelemetry_configurator": "OTEL_PYTHON_CONFIGURATOR",
}


def run() -> int:
    """Print the report.

    Returns:
        The exit status: 1 if anything stands in the way.
    """
    with _warnings() as problems:
        report = list(_report(problems))
    _say("\n".join(report))
    for problem in dict.fromkeys(problems):  # exporters that share a setting warn of it one after the other
        _say(f"! {problem}")
    return 1 if problems else 0


def _report(problems: list[str]) -> Iterator[str]:
    yield from _packages()
    problems += _rivals()
    if unusable := _unusable_imports():
        problems += unusable
        return
    from hopline.cli.doctor_exporters import exporters, propagated
    from hopline.cli.doctor_instrumentors import instrumentors

    yield from exporters(problems)
    yield f"propagated headers    {', '.join(propagated())}"
    yield from instrumentors()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect what hopline and OpenTelemetry warn of while they read their settings."""
    problems: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: problems.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("hopline", "hopline_statsd", "opentelemetry")]
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


def _unusable_imports() -> list[str]:
    """Import what reads settings meanwhile: where they are wrong the import fails, and all that needs it."""
    try:
        import_module("opentelemetry.propagate")
    except (AttributeError, ImportError, ValueError) as error:
        names = environ.get("OTEL_PROPAGATORS")
        return [f"OTEL_PROPAGATORS={names!r}: opentelemetry-instrument does not start the application ({error})"]
    try:
        import_module("opentelemetry.sdk.trace")
    except ValueError as error:
        return [f"the limits of spans: {NOTHING} ({error})"]
    return []


def _rivals() -> Iterator[str]:
    """Other distributions: the loader takes the one that is chosen, or else the first that it meets."""
    for group, variable in _LOADED_ONCE.items():
        chosen = environ.get(variable)
        if chosen is None:
            yield from _installed_rivals(group, variable)
        elif chosen != "hopline":
            yield f"{variable}={chosen!r} leaves hopline's own out; set {variable}=hopline"


def _installed_rivals(group: str, variable: str) -> Iterator[str]:
    for entry_point in entry_points(group=group):
        if entry_point.dist is not None and entry_point.dist.name != "hopline":
            yield f"{entry_point.dist.name} brings {group} {entry_point.name!r} too; set {variable}=hopline"


def _say(text: str) -> None:
    # It goes into tickets, and a warning quotes the setting that it is about.
    print(redact_text(text))  # noqa: T201 - what the command is for
