"""Where traces, metrics and logs of an application started here would go, and what would be propagated."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from os import environ
from urllib.parse import urlsplit

from opentelemetry import propagate
from opentelemetry.sdk.resources import Resource

from hopline.cli.doctor_file import config_file, unusable_file
from hopline.cli.doctor_sdk import refused_settings
from hopline.cli.doctor_words import NOTHING
from hopline.distro import DEFERRED_OTLP, HoplineDistro, chosen_exporters
from hopline.http.redaction import REDACTED
from hopline_statsd.config import StatsdConfig
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.namer import prefix_of
from hopline_statsd.transport import transport_for

_CONNECT_SECONDS = 1.0


def exporters(problems: list[str]) -> Iterator[str]:
    """Say where each signal goes.

    Args:
        problems: takes what stands in the way.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        problems.append(f"OTEL_SDK_DISABLED=true: {NOTHING}")
    chosen = chosen_exporters()
    if file := config_file():
        problems += unusable_file(file)
        chosen = _with_file(file, chosen)
    else:
        problems += refused_settings(chosen)
    for signal, names in chosen.items():
        shown = ["otlp over http" if name == DEFERRED_OTLP else name for name in names]
        yield f"{signal + ' go to':22}{', '.join(shown) or 'nowhere'}"
        if DEFERRED_OTLP in names:
            url = _otlp_url(signal)
            yield f"{'':22}{_without_userinfo(url)}"
            problems += _unreachable(url)
        if "statsd" in names:
            config = StatsdConfig.from_environment()
            prefix = prefix_of(config, Resource.create().attributes)
            yield f"{'':22}{config.endpoint}, prefix {prefix}, dialect {config.dialect}"
            problems += _unreachable_statsd(Endpoint.parse(config.endpoint))


def propagated() -> list[str]:
    """The header fields that are sent along."""
    if file := config_file():
        return [f"as {file} says"]
    HoplineDistro().configure()
    return sorted(propagate.get_global_textmap().fields) or ["none"]


def _with_file(file: str, chosen: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The file stands in the place of the exporters; spans reach statsd by a processor of hopline's."""
    added = {"traces": [name for name in chosen["traces"] if name == "statsd"]}
    return {signal: [f"where {file} says", *added.get(signal, [])] for signal in chosen}


def _otlp_url(signal: str) -> str:
    base = (environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318").rstrip("/")
    return environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") or f"{base}/v1/{signal}"


def _without_userinfo(url: str) -> str:
    """Hide all that stands before the last ``@``: a password with a ``/`` in it is no userinfo to a parser."""
    secret, at, shown = url.rpartition("@")
    scheme, colon, _ = secret.partition("://")
    return f"{scheme + colon if colon else ''}{REDACTED}@{shown}" if at else url


def _unreachable(url: str) -> list[str]:
    try:
        parsed = urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise ValueError
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        socket.create_connection((parsed.hostname, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return [f"{_without_userinfo(url)} cannot be connected to ({error})"]
    except ValueError:  # whose message may quote a part of a password
        return [f"{_without_userinfo(url)} cannot be connected to (it is no URL such as http://localhost:4318)"]
    return []


def _unreachable_statsd(endpoint: Endpoint) -> list[str]:
    """Whether anybody listens can be told of TCP and of unix sockets; of UDP only whether the host is known."""
    transport = transport_for(endpoint)
    try:
        connection = transport.connect(transport.resolve(), _CONNECT_SECONDS)
    except OSError as error:
        return [f"{endpoint} cannot be connected to ({error})"]
    if connection is not None:
        connection.socket.close()
    return []
