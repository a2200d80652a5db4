"""What a statsd line looks like: the seven dialects, their types, and what names and tags may hold.

A line is written in two steps. A *line format* (`my.prefix.requests.host.GET.200:%.3f|ms`) is made once for each
series and cached; the value goes in when the packet is packed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

PAIR = b"\x00"
"""Joins two lines that must stay in one packet; when the packet is closed, it becomes a newline."""

TIMER_TYPES = ("ms", "h", "d")
TYPES = (*TIMER_TYPES, "c", "g", "s")
_NEVER_SAMPLED = ("g", "s")

MAX_SEGMENT = 200
"""Characters of one segment or tag value; graphite names files by them, and file systems allow 255."""

MAX_VALUE = 1e15
"""Beyond it a number is taken for a mistake: as milliseconds it is 31,000 years."""

_SEPARATORS = re.compile(r"[./:\[\]]")
_NOT_IN_SEGMENT = re.compile(r"[^A-Za-z0-9_-]")


@lru_cache(maxsize=8192)
def segment(text: str) -> str:
    """Make one name segment of any text.

    `.`, `/`, `:`, `[` and `]` become `-`, whatever else is not an ASCII letter, a digit, `_` or `-` becomes
    `_`, slashes at either end go. What comes out means the same to every statsd server: none rewrites it.

    Args:
        text: A host, a method, a route, a task name …

    Returns:
        1 to 200 characters of `[A-Za-z0-9_-]`; `root` for a text of slashes only, `empty` for an empty one.
    """
    bare = text.strip("/")[:MAX_SEGMENT]
    if not bare:
        return "root" if text else "empty"
    return _NOT_IN_SEGMENT.sub("_", _SEPARATORS.sub("-", bare))


@lru_cache(maxsize=8192)
def dotted(text: str) -> str:
    """Make a dotted name of any text: each part between dots becomes a segment, empty parts go.

    Args:
        text: A prefix or a metric name.

    Returns:
        Segments joined with `.`; empty where the text has no part.
    """
    return ".".join(segment(part) for part in text.split(".") if part.strip("/"))


def number(value: float) -> bytes:
    """Write a number without an exponent, which not every server reads.

    Args:
        value: A finite number within ±1e15.

    Returns:
        Up to nine decimals, no trailing zeros.
    """
    if isinstance(value, int):
        return b"%d" % value
    text = (b"%.9f" % value).rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


def _decimals(rate: float) -> str:
    """Write a rate to its last digit, so that it is read as it is, and without an exponent."""
    digits, _, exponent = repr(float(rate)).partition("e-")
    return f"0.{'0' * (int(exponent) - 1)}{digits.replace('.', '')}" if exponent else digits


def sample_rate(type_: str, rate: float) -> float:
    """Return the share of the lines of a type that is sent: all of them for gauges and sets.

    Args:
        type_: `ms`, `h`, `d`, `c`, `g` or `s`.
        rate: The share for the types that are sampled.
    """
    return 1.0 if type_ in _NEVER_SAMPLED else rate


def gauge(line_format: bytes, value: float) -> bytes:
    """Write a gauge so that the server sets it, whatever its sign.

    Args:
        line_format: Made by `Dialect.line_format` for the type `g` with the conversion `%s`.
        value: A finite number within ±1e15.

    Returns:
        One line, or two lines that stay together: servers that take a signed value as a change see 0 first.
    """
    line = line_format % number(value)
    return line if value >= 0 else (line_format % b"0") + PAIR + line


@dataclass(frozen=True)
class Dialect:
    """How one family of statsd servers writes tags and types.

    Attributes:
        name: The value of `OTEL_EXPORTER_STATSD_DIALECT`.
        opening: What stands before the first tag; empty for the dialect without tags.
        closing: What stands after the last tag.
        separator: What stands between two tags.
        assignment: What stands between a tag's key and its value.
        trailing: Whether the tags end the line instead of following the name.
        types: The types that the dialect has; a timer of another type is written as `ms`.
        forbidden: The characters that neither a key nor a value may hold.
        renamed: Tag keys that the server takes for itself, and what is written in their place.
        is_framed: Whether a packet on a unix stream follows its length, instead of ending with a newline.
    """

    name: str
    opening: str = ""
    closing: str = ""
    separator: str = ","
    assignment: str = "="
    trailing: bool = False
    types: tuple[str, ...] = ("ms", "c", "g", "s")
    forbidden: re.Pattern[str] = field(default=re.compile(r"[^A-Za-z0-9_./-]"))
    renamed: Mapping[str, str] = field(default_factory=dict)
    is_framed: bool = False

    @property
    def has_tags(self) -> bool:
        """Whether lines carry tags; where not, what tags say goes into the name."""
        return bool(self.opening)

    @property
    def has_distributions(self) -> bool:
        """Whether the server aggregates `d` lines over all their senders."""
        return "d" in self.types

    def tag_value(self, text: str) -> str:
        """Make a tag value of any text: what the dialect cannot carry becomes `_`.

        Args:
            text: Any text.

        Returns:
            1 to 200 characters; `empty` for an empty text.
        """
        return self.forbidden.sub("_", text[:MAX_SEGMENT]) or "empty"

    def member(self, text: str) -> str:
        """Make a member of a set of any text; like a tag value, but what separates values becomes `_`, too.

        Args:
            text: Any text.

        Returns:
            1 to 200 characters; `empty` for an empty text.
        """
        return self.tag_value(text).replace(":", "_")

    def tag_key(self, text: str) -> str:
        """Make a tag key of any text; like a value, but never with the dialect's assignment in it.

        Args:
            text: An attribute's name, say.

        Returns:
            1 to 200 characters; none that the server takes for itself.
        """
        key = self.tag_value(text).replace(self.assignment, "_")
        return self.renamed.get(key, key)

    def line_format(
        self,
        name: str,
        type_: str,
        conversion: str,
        tags: Mapping[str, str] | None = None,
        rate: float = 1.0,
    ) -> bytes:
        """Write a line with a place for its value.

        Args:
            name: A dotted name, already made of segments.
            type_: `ms`, `h`, `d`, `c`, `g` or `s`.
            conversion: The `%` conversion that stands for the value: `%.3f`, `%s`.
            tags: Keys and values, already made by `tag_key` and `tag_value`; must be empty in a dialect
                without tags.
            rate: The sample rate; one below 1 is written on the line.

        Returns:
            A `%` format that takes exactly one value; bytes, because they are formatted faster.
        """
        written = type_ if type_ in self.types else "ms"
        pairs = self.separator.join(f"{key}{self.assignment}{value}" for key, value in (tags or {}).items())
        text = f"{self.opening}{pairs}{self.closing}" if pairs else ""
        head, tail = (name, text) if self.trailing else (name + text, "")
        sampled = f"|@{_decimals(rate)}" if rate < 1 else ""
        return f"{head}:{conversion}|{written}{sampled}{tail}".encode("ascii")


_DOGSTATSD = Dialect(
    "dogstatsd",
    opening="|#",
    assignment=":",
    trailing=True,
    types=TYPES,
    forbidden=re.compile(r"[^A-Za-z0-9_./:-]"),
)
DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("plain"),
        _DOGSTATSD,
        # Datadog's agent takes a tag `host` away: it names the host that the metric is of.
        replace(_DOGSTATSD, name="datadog", renamed={"host": "peer.hostname"}, is_framed=True),
        # Telegraf throws `d` away unless it is told to read it as Datadog does.
        Dialect("influx", opening=",", types=("ms", "h", "c", "g", "s")),
        # etsy statsd hands these to graphite and deletes a '/' on the way.
        Dialect("graphite", opening=";", separator=";", forbidden=re.compile(r"[^A-Za-z0-9_.-]")),
        Dialect("librato", opening="#"),
        Dialect("signalfx", opening="[", closing="]"),
    )
}
"""Every dialect by its name."""
