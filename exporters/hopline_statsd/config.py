"""What the user decides: read once, from keyword arguments or from the environment, and then frozen."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hopline_statsd import environment_variables as names
from hopline_statsd.endpoint import Endpoint
from hopline_statsd.fields import text_of
from hopline_statsd.lines import DIALECTS, TIMER_TYPES, dotted
from hopline_statsd.rules import RuleSet
from hopline_statsd.rules_file import load_rules
from hopline_statsd.rulesets import DEFAULT

_logger = logging.getLogger(__name__)

_UDP_PACKET = 1432
_LOCAL_PACKET = 8192


@dataclass(frozen=True, kw_only=True)
class StatsdConfig:
    """The settings of the statsd exporter.

    Attributes:
        endpoint: Where the server listens: `udp://`, `udp6://`, `unix://`, `unixstream://` or `tcp://`.
        prefix: What every name starts with; None for the service name of the resource.
        dialect: `plain`, `dogstatsd`, `datadog`, `influx`, `graphite`, `librato` or `signalfx`.
        max_packet_size: Bytes of payload in a packet, 64 to 65,507; None for 1432 (UDP) or 8192 (the others).
        max_buffer_size: Bytes of packets that wait for a server that takes none.
        flush_interval: Seconds that a line waits at most for its packet to fill up.
        sample_rate: The share of timer and counter lines that is sent, above 0 and up to 1.
        timer_type: `ms`, `h` or `d`: the type of timer lines.
        max_names: How many distinct names a process makes, and at least one for each rule.
        rules: Which spans and metrics make which lines; `load_rules` finds them by name, or in a file.
        unsampled: Whether spans that are not sampled make lines too.

    Raises:
        ValueError: A setting is out of its range, or of the wrong type; the message names it.
    """

    endpoint: str = str(Endpoint())
    prefix: str | None = None
    dialect: str = "plain"
    max_packet_size: int | None = None
    max_buffer_size: int = 1024 * 1024
    flush_interval: float = 1.0
    sample_rate: float = 1.0
    timer_type: str = "ms"
    max_names: int = 2000
    rules: RuleSet = DEFAULT
    unsampled: bool = True

    def __post_init__(self) -> None:
        for field, check in _CHECKS.items():
            value = getattr(self, field)
            if value is None and field in _OPTIONAL:
                continue
            try:
                check(value)
            except ValueError as error:
                raise ValueError(f"{field}={value!r}: {error}") from error
            except (AttributeError, TypeError) as error:  # the check asks for what only the right type has
                raise ValueError(f"{field}={value!r}: it is of the wrong type, {type(value).__name__}") from error

    @property
    def packet_size(self) -> int:
        """Bytes of payload in a packet."""
        if self.max_packet_size is not None:
            return self.max_packet_size
        return _UDP_PACKET if Endpoint.parse(self.endpoint).scheme.startswith("udp") else _LOCAL_PACKET

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> StatsdConfig:
        """Read the settings from environment variables.

        A value that makes no sense is passed over with one warning, which names the variable, the value and
        what is used instead.

        Args:
            environ: The variables; `os.environ` by default.

        Returns:
            The settings.
        """
        reader = _Reader(os.environ if environ is None else environ)
        for field, (variable, parse) in _VARIABLES.items():
            reader.read(field, variable, parse)
        reader.read_dsn()
        reader.read_classic()
        config = cls(**reader.found)
        reader.warn(config)
        return config


class _Reader:
    """Collects settings; the first that is found for a field is used."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._complaints: list[tuple[str, str, str, str]] = []
        self.found: dict[str, Any] = {}

    def read(self, field: str, variable: str, parse: Callable[[str], Any]) -> None:
        self._take(field, variable, self._environ.get(variable, "").strip(), parse)

    def read_dsn(self) -> None:
        dsn = self._environ.get(names.STATSD_DSN, "").strip()
        try:
            url = urlsplit(dsn)
        except ValueError as error:
            self._complain("endpoint", names.STATSD_DSN, error)
            return
        is_path = url.scheme.startswith("unix")
        endpoint = dsn.partition("?")[0] if is_path else f"{url.scheme}://{url.netloc}" if dsn else ""
        self._take("endpoint", names.STATSD_DSN, endpoint, _endpoint)
        self._take("prefix", names.STATSD_DSN, "" if is_path else url.path.strip("/").replace("/", "."), _prefix)
        size = parse_qs(url.query).get("maxudpsize", [""])[-1]
        self._take("max_packet_size", names.STATSD_DSN, size, _integer)

    def read_classic(self) -> None:
        self.read("prefix", names.STATSD_PREFIX, _prefix)
        if "endpoint" in self.found:
            return
        self.read("endpoint", names.STATSD_HOST, _endpoint_of_host)
        host = Endpoint.parse(self.found.pop("endpoint", str(Endpoint())))
        self.read("endpoint", names.STATSD_PORT, lambda port: str(host.with_port(port)))
        self.found.setdefault("endpoint", str(host))

    def warn(self, config: StatsdConfig) -> None:
        for field, variable, raw, reason in self._complaints:
            in_words = None if field in self.found else _DEFAULTS_IN_WORDS.get(field)
            _warn(variable, raw, reason, in_words or _as_written(field, config))

    def _take(self, field: str, variable: str, raw: str, parse: Callable[[str], Any]) -> None:
        if not raw or field in self.found:
            return
        try:
            value = parse(raw)
            _CHECKS.get(field, lambda _: None)(value)
        except ValueError as error:
            self._complain(field, variable, error)
        else:
            self.found[field] = value

    def _complain(self, field: str, variable: str, error: ValueError) -> None:
        # All of its value, for whoever reads the warning to know it again: a DSN is taken apart before.
        self._complaints.append((field, variable, self._environ.get(variable, "").strip(), str(error)))


@lru_cache(maxsize=256)
def _warn(variable: str, raw: str, reason: str, used: str) -> None:
    """Say it once, though each exporter reads the settings."""
    _logger.warning("%s=%r is not used, %s; used instead: %s", variable, raw, reason, used)


def _as_written(field: str, config: StatsdConfig) -> str:
    """Write a setting as its variable has it."""
    if field == "max_packet_size":
        return str(config.packet_size)
    value = getattr(config, field)
    return f"{value * 1000:g}" if field == "flush_interval" else text_of(value)


def _endpoint(text: str) -> str:
    return str(Endpoint.parse(text))


def _endpoint_of_host(host: str) -> str:
    return _endpoint(f"udp://[{host}]" if host.count(":") > 1 and not host.startswith("[") else f"udp://{host}")


def _prefix(text: str) -> str:
    return text.strip(".")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("it is no number") from None


def _seconds(text: str) -> float:
    milliseconds = _number(text)
    _between(10, 3_600_000, " milliseconds")(milliseconds)
    return milliseconds / 1000


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return text.lower() == "true"


def _one_of(options: tuple[str, ...]) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in options:
            raise ValueError(f"it is none of {', '.join(options)}")

    return check


def _between(low: float, high: float, unit: str = "") -> Callable[[float], None]:
    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"it is not between {low:,} and {high:,}{unit}")

    return check


def _whole_between(low: int, high: int, unit: str = "") -> Callable[[int], None]:
    check = _between(low, high, unit)
    return lambda value: check(operator.index(value))


def _of_type(wanted: type) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, wanted):
            raise ValueError(f"it is no {wanted.__name__}")

    return check


def _check_prefix(value: str) -> None:
    if not dotted(value):
        raise ValueError("it holds no name")
    if len(value) > 400:
        raise ValueError("it is longer than 400 characters")


def _check_rate(value: float) -> None:
    if not 1e-9 <= value <= 1:
        raise ValueError("it is not above 0 and up to 1")


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "endpoint": Endpoint.parse,
    "prefix": _check_prefix,
    "dialect": _one_of(tuple(DIALECTS)),
    "max_packet_size": _whole_between(64, 65_507, " bytes"),
    "max_buffer_size": _whole_between(65_536, 1 << 30, " bytes"),
    "flush_interval": _between(0.01, 3600, " seconds"),
    "sample_rate": _check_rate,
    "timer_type": _one_of(TIMER_TYPES),
    "max_names": _whole_between(1, 1_000_000),
    "rules": _of_type(RuleSet),
    "unsampled": _of_type(bool),
}

_OPTIONAL = ("prefix", "max_packet_size")

_DEFAULTS_IN_WORDS = {"prefix": "the service name", "rules": "default"}

_VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "endpoint": (names.OTEL_EXPORTER_STATSD_ENDPOINT, _endpoint),
    "prefix": (names.OTEL_EXPORTER_STATSD_PREFIX, _prefix),
    "dialect": (names.OTEL_EXPORTER_STATSD_DIALECT, str.lower),
    "max_packet_size": (names.OTEL_EXPORTER_STATSD_MAX_PACKET_SIZE, _integer),
    "max_buffer_size": (names.OTEL_EXPORTER_STATSD_MAX_BUFFER_SIZE, _integer),
    "flush_interval": (names.OTEL_EXPORTER_STATSD_FLUSH_INTERVAL, _seconds),
    "sample_rate": (names.OTEL_EXPORTER_STATSD_SAMPLE_RATE, _number),
    "timer_type": (names.OTEL_EXPORTER_STATSD_TIMER_TYPE, str.lower),
    "max_names": (names.OTEL_EXPORTER_STATSD_MAX_NAMES, _integer),
    "rules": (names.OTEL_EXPORTER_STATSD_RULES, load_rules),
    "unsampled": (names.OTEL_EXPORTER_STATSD_UNSAMPLED, _boolean),
}
