"""The one place where errors of our own end: the application never sees them."""

from __future__ import annotations

import logging
import signal

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
        """Take note of an error, in an `except Exception` clause.

        Raises:
            Exception: The very error, where the handler of a signal has raised it, such as a time limit.
        """
        if _is_of_a_signal(error):
            raise error
        self._tally.dropped(ERROR)
        if type(error) not in self._reported:
            self._reported.add(type(error))
            _logger.warning("%s; said once for each kind of error", self._what, exc_info=error)


def _is_of_a_signal(error: Exception) -> bool:
    """Whether the handler of a signal has raised it, which may be called between any two steps of ours."""
    handlers = {getattr(signal.getsignal(each), "__code__", None) for each in signal.valid_signals()} - {None}
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code not in handlers:
        at = at.tb_next
    return at is not None
