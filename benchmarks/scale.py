"""Whether a call costs the same however many threads, tasks and hosts there are.

CPU time that instrumentation adds to one call: by 1, 8 and 64 threads; to 1, 100 and 10,000 hosts; and in 1 and 1,000
asyncio tasks. Each beside bare calls in the same round.

    python benchmarks/scale.py [threads|hosts|tasks]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

os.environ["OTEL_PROPAGATORS"] = "tracecontext"

import aiohttp
import requests
import sdk
from aiohttp_client import server
from harness import Arm, Row, added, interleaved, report, show
from sending import session

from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline.requests import RequestsInstrumentor

FLAT = 1.10
CALLS = 6400
BURST = 1000


def beside_bare(call: Callable[[], object], *, rounds: int, calls: int, aio: bool = False) -> dict[str, list[float]]:
    """The CPU microseconds of `call`, bare and instrumented."""
    providers = sdk.providers()
    instrumentor = AioHttpClientInstrumentor() if aio else RequestsInstrumentor()
    instrumented = Arm(call, lambda: instrumentor.instrument(**providers), instrumentor.uninstrument)
    return interleaved({"bare": Arm(call), "hopline": instrumented}, rounds, calls)


def rows(case: str, costs: dict[str, float]) -> list[Row]:
    first, least = next(iter(costs.items()))
    return [
        Row(f"scale: {case}", f"added with {name} ÷ with {first}", cost / least, FLAT)
        for name, cost in costs.items()
        if name != first
    ]


def by_threads() -> list[Row]:
    costs = {}
    for threads in (1, 8, 64):
        with ThreadPoolExecutor(threads) as pool:
            share = CALLS // threads

            def one_share(_: object, share: int = share) -> None:
                sending = session()
                prepared = sending.prepare_request(requests.Request("GET", "http://example.com/users/17"))
                for _ in range(share):
                    sending.send(prepared.copy())

            def all_shares(pool: ThreadPoolExecutor = pool, threads: int = threads, each: Callable = one_share) -> None:
                list(pool.map(each, range(threads)))

            measured = beside_bare(all_shares, rounds=15, calls=1)
        measured = {name: [cost / CALLS for cost in costs] for name, costs in measured.items()}
        show(f"requests, {threads} threads", measured)
        costs[f"{threads} threads"] = added(measured, "hopline")
    return rows("threads", costs)


def by_hosts() -> list[Row]:
    costs = {}
    for hosts in (1, 100, 10_000):
        sending = session()
        urls = (f"http://host-{number}.example.com/users/17" for number in range(hosts))
        prepared = cycle([sending.prepare_request(requests.Request("GET", url)) for url in urls])
        measured = beside_bare(lambda: sending.send(next(prepared).copy()), rounds=9, calls=10_000)  # noqa: B023
        show(f"requests, {hosts:,} hosts", measured)
        costs[f"{hosts:,} hosts"] = added(measured, "hopline")
    return rows("hosts", costs)


async def by_tasks() -> list[Row]:
    costs = {}
    async with server(128) as url:
        for tasks in (1, 1000):
            measured = await asyncio.to_thread(beside_bare, burst(url, tasks), rounds=9, calls=1, aio=True)
            measured = {name: [cost / BURST for cost in costs] for name, costs in measured.items()}
            show(f"aiohttp, {tasks:,} tasks", measured)
            costs[f"{tasks:,} tasks"] = added(measured, "hopline")
    return rows("tasks", costs)


def burst(url: str, tasks: int) -> Callable[[], None]:
    """A thousand requests through twenty connections, by so many tasks at once."""

    async def fetch(sending: aiohttp.ClientSession, times: int) -> None:
        for _ in range(times):
            async with sending.get(url) as response:
                await response.read()

    async def all_at_once() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as sending:
            await asyncio.gather(*(fetch(sending, BURST // tasks) for _ in range(tasks)))

    return lambda: asyncio.run(all_at_once())


CASES: dict[str, Callable[[], list[Row]]] = {
    "threads": by_threads,
    "hosts": by_hosts,
    "tasks": lambda: asyncio.run(by_tasks()),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        report(CASES[sys.argv[1]]())
    else:
        for name in CASES:
            subprocess.run([sys.executable, __file__, name], check=True)
