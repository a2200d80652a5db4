"""The one place where errors of our own end: the application never sees them."""

from __future__ import annotations

import logging

from hopline_statsd.stats import ERROR, Tally

_logger = logging.getLogger(__name__)


class Guard:
    """Counts errors, and logs each kind of error once.

    Args:
        what: What does not happen because of an error.
        tally: Where errors are counted.
    """

    def __init__(self, what: str, tally: Tally) -> None:
        self._what = what
        self._tally = tally
        self._reported: set[type[Exception]] = set()

    def caught(self, error: Exception) -> None:
        """Take note of an error, in an `except Exception` clause."""
        self._tally.dropped(ERROR)
        if type(error) not in self._reported:
            self._reported.add(type(error))
            _logger.warning("%s; said once for each kind of error", self._what, exc_info=error)
