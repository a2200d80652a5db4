"""Values that stand for the buckets of a histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from opentelemetry.sdk.metrics.export import ExponentialHistogramDataPoint, HistogramDataPoint

from hopline_statsd.values import finite

_Bucket = tuple[float, float, int]


def representatives(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> Iterator[tuple[float, int]]:
    """Find a value for each bucket that is not empty.

    Args:
        point: A histogram with bounds of its own, or an exponential one.

    Yields:
        The middle of what the bucket holds, as far as the least and the greatest value tell, and how many
        values it stands for.
    """
    buckets = _explicit(point) if isinstance(point, HistogramDataPoint) else _exponential(point)
    least, greatest = finite(point.min, 1.0), finite(point.max, 1.0)
    for low, high, count in buckets:
        if not count:
            continue
        low_known = low if least is None else max(low, least)
        high_known = high if greatest is None else min(high, greatest)
        yield _middle(low_known, high_known), count


def rate_of(count: int) -> float:
    """Return the sample rate of a line that stands for so many values.

    Servers cut off what `1 / rate` has behind the point: the nearest number may be too great by its last digit.
    """
    rate = 1 / count
    return rate if int(1 / rate) >= count else math.nextafter(rate, 0.0)


def _explicit(point: HistogramDataPoint) -> Iterable[_Bucket]:
    bounds = [-math.inf, *point.explicit_bounds, math.inf]
    return zip(bounds[:-1], bounds[1:], point.bucket_counts, strict=True)


def _exponential(point: ExponentialHistogramDataPoint) -> Iterator[_Bucket]:
    base = 2.0 ** (2.0**-point.scale)
    for index, count in enumerate(point.negative.bucket_counts, point.negative.offset):
        yield -(base ** (index + 1)), -(base**index), count
    yield 0.0, 0.0, point.zero_count
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        yield base**index, base ** (index + 1), count


def _middle(low: float, high: float) -> float:
    if math.isinf(low):
        return 0.0 if math.isinf(high) else high
    return low if math.isinf(high) else (low + high) / 2
