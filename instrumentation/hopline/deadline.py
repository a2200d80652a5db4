"""The deadline: the moment until which whoever asked for a request waits for its answer."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone
from functools import cache
from math import isfinite
from time import monotonic, time
from typing import Any

HEADER = "X-Request-Deadline"

# Sockets refuse a time-out of more milliseconds than fit into 32 bits (24.8 days).
_LONGEST_LEFT = 24 * 86_400.0
_LONGEST_TEXT = 64
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?(?:Z|([+-][0-9]{2}):?([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class DeadlineExceeded(TimeoutError):
    """The deadline of the request that is being served has passed.

    What is raised is also a ``requests.exceptions.Timeout`` where requests is imported and an
    ``asyncio.TimeoutError`` where asyncio is, so code that handles those handles this.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The class may be one that `deadline_exceeded` has made: the process that reads it makes its own.
        return deadline_exceeded, self.args


class Deadline:
    """A moment, fixed on two clocks: the wall clock to tell others, the monotonic one to measure what is left.

    Args:
        at: seconds since the epoch.

    Attributes:
        at: seconds since the epoch, to the millisecond.
        made: when it was set, on the monotonic clock.
        text: the moment in ISO 8601, UTC, to the millisecond: ``2030-01-31T12:00:00.250Z``.

    Raises:
        ValueError: if ``at`` is not a moment from the year 1 to 9999.
    """

    __slots__ = ("_monotonic", "at", "made", "text")

    def __init__(self, at: float) -> None:
        self.at = round(at, 3) if isfinite(at) else at
        try:
            moment = self.moment
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{at!r} is not a moment") from error
        self.text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.made = monotonic()
        self._monotonic = self.made + (self.at - time())

    @property
    def moment(self) -> datetime:
        """The moment, in UTC."""
        return _EPOCH + timedelta(seconds=self.at)

    def left(self) -> float:
        """Seconds left: at most 24 days, for no socket takes a longer time-out.

        Raises:
            DeadlineExceeded: if it has passed.
        """
        left = min(self._monotonic - monotonic(), _LONGEST_LEFT)
        if left <= 0:
            raise deadline_exceeded()
        return left


def parse(text: str) -> Deadline:
    """Read a deadline as another service sent it: ISO 8601 with seconds and a ``Z`` or an offset.

    Raises:
        ValueError: if ``text`` is anything else.
    """
    match = _ISO.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ValueError("expected ISO 8601 in UTC")
    seconds, fraction, hours, minutes = match.groups()
    moment = datetime.fromisoformat(f"{seconds}{hours or '+00'}:{minutes or '00'}")
    return Deadline((moment - _EPOCH).total_seconds() + float(f"0.{fraction or 0}"))


def deadline_exceeded(message: str = "the deadline of the request has passed") -> DeadlineExceeded:
    """Make the error for a passed deadline; it is also each time-out error that code here can know of."""
    # Code that catches one of these has imported its module: what is not imported need not be caught.
    requests, asyncio = sys.modules.get("requests.exceptions"), sys.modules.get("asyncio.exceptions")
    known = (getattr(requests, "Timeout", None), getattr(asyncio, "TimeoutError", None))
    error: DeadlineExceeded = _class_of(*(each for each in known if each is not None))(message)
    return error


@cache
def _class_of(*others: type[Exception]) -> Any:
    # From Python 3.11 on, asyncio's is TimeoutError itself.
    bases = tuple(other for other in others if not issubclass(DeadlineExceeded, other))
    if not bases:
        return DeadlineExceeded
    # The others first: a requests error gets its attributes from its own __init__.
    members = {"__module__": DeadlineExceeded.__module__, "__doc__": DeadlineExceeded.__doc__}
    return type(DeadlineExceeded.__name__, (*bases, DeadlineExceeded), members)
