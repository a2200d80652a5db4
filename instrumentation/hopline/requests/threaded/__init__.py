"""Many requests at a time, in threads, with the interface of requests-toolbelt's ``threaded`` package.

Beyond that interface each job runs in the context that it was submitted in, so that its request carries the request
id and trace of whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hopline.requests.threaded.pool import JobQueue, Pool, ThreadException, ThreadResponse
from hopline.requests.threaded.progress import tqdm_progress

__all__ = ["JobQueue", "Pool", "ThreadException", "ThreadResponse", "map", "tqdm_progress"]


def map(  # noqa: A001 - the interface's own name
    requests: Iterable[Mapping[str, Any]], **kwargs: Any
) -> tuple[Iterator[ThreadResponse], Iterator[ThreadException]]:
    """Make the requests and wait until all are done.

    Args:
        requests: the keyword arguments of ``Session.request`` for each.
        **kwargs: those of :class:`Pool`, except ``job_queue``.

    Returns:
        The responses, and the exceptions that came instead.

    Raises:
        ValueError: if ``requests`` is empty or holds anything but mappings.
    """
    requests = list(requests or ())
    if not requests or not all(isinstance(request, Mapping) for request in requests):
        raise ValueError("map expects a list of dictionaries")
    kwargs["job_queue"] = jobs = JobQueue()
    for request in requests:
        jobs.put(request)
    pool = Pool(**kwargs)
    pool.join_all()
    return pool.responses(), pool.exceptions()
