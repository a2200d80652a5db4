"""``hopline watch``: a statsd server for one terminal, which shows what arrives as a table."""

from __future__ import annotations

import os
import sys
import time

from hopline_statsd.aggregate import Summary
from hopline_statsd.listener import StatsdListener

_NUMBERS = ("count", "rate", "mean", "p50", "p90", "p99", "max")
_WIDTH = 10
_CLEAR = "\x1b[2J\x1b[H"


def run(endpoint: str, interval: float) -> int:
    """Show what arrives, until interrupted.

    Args:
        endpoint: where to listen, for instance ``udp://127.0.0.1:8125``.
        interval: seconds between two looks.

    Returns:
        The exit status: 2 if the endpoint cannot be listened at.
    """
    try:
        listener = StatsdListener(endpoint).start()
    except (OSError, ValueError) as error:
        print(f"hopline watch: cannot listen at {endpoint}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        while True:
            time.sleep(interval)
            _show(listener)
    except KeyboardInterrupt:
        _show(listener)
    finally:
        listener.stop()
    return 0


def _show(listener: StatsdListener) -> None:
    rows = [_row(summary) for summary in listener.summaries()]
    width = max((len(row[0]) for row in rows), default=0)
    heading = f"{'listening at ' + listener.endpoint:{width}}" + "".join(f"{name:>11}" for name in _NUMBERS)
    lines = [heading, *(f"{name:{width}}" + "".join(f"{number:>11}" for number in numbers) for name, *numbers in rows)]
    if listener.bad_lines:
        lines.append(f"{listener.bad_lines} lines were no statsd lines")
    # One look takes the place of the one before where there is a screen to clear.
    print((_CLEAR if sys.stdout.isatty() else "") + os.linesep.join(lines), flush=True)  # noqa: T201


def _row(summary: Summary) -> list[str]:
    tags = "".join(f" {key}={value}" for key, value in summary.tags.items())
    return [f"{summary.name}{tags} {summary.type}", *(_number(getattr(summary, name)) for name in _NUMBERS)]


def _number(value: float) -> str:
    """Write a number with as many digits as there is room for beside its sign and its exponent."""
    return next(text for digits in range(_WIDTH, 0, -1) if len(text := f"{value:.{digits}g}") <= _WIDTH)
