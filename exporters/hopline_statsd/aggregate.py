"""What a statsd server makes of lines: counts, rates, means and percentiles for each series."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from hopline_statsd.parse import Sample

MAX_VALUES = 65_536
"""Values of one series that percentiles are exact for; beyond, a random choice of as many stands for all."""
MAX_MEMBERS = 65_536
"""Distinct members of a set that are told apart."""


@dataclass(frozen=True)
class Summary:
    """One series over some time.

    Attributes:
        name: The name, without tags.
        tags: The tags by key.
        type: `ms`, `h`, `d`, `c`, `g` or `s`.
        count: How many values there were; the total of a counter; the distinct members of a set.
        rate: `count` for each second.
        mean: The mean of the values; of a gauge, the value it has.
        min: The least value.
        p50: The median.
        p90: The value that a tenth is above.
        p99: The value that a hundredth is above.
        max: The greatest value.
    """

    name: str
    tags: Mapping[str, str]
    type: str
    count: float
    rate: float
    mean: float
    min: float
    p50: float
    p90: float
    p99: float
    max: float


class Series:
    """The values of one name and its tags, of bounded size.

    Args:
        first: The first sample: it says name, tags and type.
    """

    def __init__(self, first: Sample) -> None:
        self._first = first
        self._values = array("d")
        self._members: set[str] = set()
        self._lines = 0
        self._count = 0.0
        self._total = 0.0
        self._gauge = 0.0
        self._least = math.inf
        self._greatest = -math.inf

    def add(self, sample: Sample) -> None:
        """Take one more sample in; one with a rate of 0.1 stands for ten."""
        self._lines += 1
        if sample.type == "s":
            if len(self._members) < MAX_MEMBERS:
                self._members.add(sample.value)
            return
        value = float(sample.value)
        if sample.type == "g":
            self._gauge = value if sample.sets else self._gauge + value
            value = self._gauge
        weight = 1 / sample.rate if sample.rate > 0 else 1.0
        self._count += weight
        self._total += value * weight
        self._least = min(self._least, value)
        self._greatest = max(self._greatest, value)
        self._keep(value)

    def summary(self, seconds: float) -> Summary:
        """Summarize what was added.

        Args:
            seconds: The time it took, for the rate.
        """
        first = self._first
        count = {"c": self._total, "s": float(len(self._members))}.get(first.type, self._count)
        mean = self._gauge if first.type == "g" else self._total / self._count if self._count else 0.0
        ordered = sorted(self._values) or [0.0]
        low, high = (self._least, self._greatest) if self._count else (0.0, 0.0)
        p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
        rate = count / seconds if seconds > 0 else 0.0
        return Summary(first.name, first.tags, first.type, count, rate, mean, low, p50, p90, p99, high)

    def _keep(self, value: float) -> None:
        if len(self._values) < MAX_VALUES:
            self._values.append(value)
            return
        place = random.randrange(self._lines)  # noqa: S311  a statistic
        if place < MAX_VALUES:
            self._values[place] = value


def percentile(ordered: list[float], share: float) -> float:
    """Return the least value that at least a share of the values does not exceed (nearest rank).

    Args:
        ordered: At least one value, in ascending order.
        share: Above 0 and up to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
