"""``OTEL_CONFIG_FILE``: a file that decides what the SDK would otherwise read from the environment."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from os import environ
from pathlib import Path
from types import ModuleType

from opentelemetry.sdk import _configuration

from hopline.cli.doctor_words import NOTHING

_VARIABLE = "OTEL_CONFIG_FILE"


def config_file() -> str:
    """The file's name; empty where there is none, or with an SDK that is too old to read one."""
    return environ.get(_VARIABLE, "") if hasattr(_configuration, _VARIABLE) else ""


def unusable_file(name: str) -> list[str]:
    """Why the SDK could not be set up with the file ``name``, if so."""
    reason = _reason(name)
    return [f"{_VARIABLE}={name!r}: {NOTHING} ({reason})"] if reason else []


def _reason(name: str) -> str:
    if not Path(name).is_file():
        return "there is no such file"
    try:
        loader = _loader()
    except ImportError as error:
        return f"opentelemetry-configuration cannot be imported: {error}"
    try:
        loader.load_config_file(name)
    except loader.ConfigurationError as error:
        return str(error)
    return ""


def _loader() -> ModuleType:
    """A part of the SDK before 1.44, a package of its own since."""
    within = f"{_configuration.__name__}.file"
    return import_module(within if find_spec(within) else "opentelemetry.configuration")
