"""Reads statsd lines back, whichever dialect they are in: for the listener, and to check what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_OPENING = re.compile(r"[,;#\[]")
_SEPARATORS = {",": ",", ";": ";", "#": ",", "[": ","}


class Sample(NamedTuple):
    """One line.

    Attributes:
        name: The name, without tags.
        value: The value as it was written.
        type: `ms`, `h`, `d`, `c`, `g` or `s`.
        rate: The share of such lines that was sent.
        tags: The tags by key.
        sets: For a gauge, whether the value replaces the one before; if not, it is added to it.
    """

    name: str
    value: str
    type: str
    rate: float = 1.0
    tags: Mapping[str, str] = {}
    sets: bool = True


def parse_line(line: str) -> Sample:
    """Read one line.

    Args:
        line: The line, without its newline.

    Returns:
        What it says.

    Raises:
        ValueError: It is no statsd line.
    """
    head, colon, rest = line.partition(":")
    value, bar, tail = rest.partition("|")
    if not (head and colon and value and bar):
        raise ValueError(f"no statsd line: {line!r}")
    type_, *extras = tail.split("|")
    name, tags = _head(head)
    rate, is_dogstatsd = 1.0, False
    for extra in extras:
        if extra.startswith("@"):
            rate = float(extra[1:])
        elif extra.startswith("#"):
            tags, is_dogstatsd = _pairs(extra[1:], ",", ":"), True
    if type_ != "s":
        float(value)
    is_change = type_ == "g" and value[0] in "+-" and not is_dogstatsd
    return Sample(name, value, type_, rate, tags, not is_change)


def parse_packet(packet: bytes) -> list[Sample]:
    """Read the lines of a packet.

    Args:
        packet: Lines joined with newlines.

    Returns:
        What they say, in order.

    Raises:
        ValueError: One of them is no statsd line.
    """
    return [parse_line(line) for line in packet.decode().split("\n") if line]


def _head(head: str) -> tuple[str, Mapping[str, str]]:
    opening = _OPENING.search(head)
    if opening is None:
        return head, {}
    tags = head[opening.end() :].removesuffix("]")
    return head[: opening.start()], _pairs(tags, _SEPARATORS[opening.group()], "=")


def _pairs(text: str, separator: str, assignment: str) -> Mapping[str, str]:
    pairs = (pair.partition(assignment) for pair in text.split(separator) if pair)
    return {key: value for key, _, value in pairs}
