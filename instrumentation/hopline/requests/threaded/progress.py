"""How far a pool of requests has come: the callback's form, and one that draws a bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int, int | None], object]
"""Called after each job, by one thread at a time, with the numbers of those done and failed, and of all if known."""


def tqdm_progress(**options: Any) -> Progress:
    """Make a progress callback that draws a bar with tqdm.

    Args:
        **options: those of ``tqdm.tqdm``, for instance ``desc``.

    Raises:
        ImportError: if tqdm is not installed.
    """
    from tqdm import tqdm

    bar = tqdm(**options)

    def progress(done: int, failed: int, total: int | None) -> None:
        bar.total = total
        bar.set_postfix(failed=failed, refresh=False)
        bar.update(done + failed - bar.n)
        if done + failed == total:
            bar.close()

    return progress
