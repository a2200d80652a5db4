"""Whether a call costs the same however many threads, tasks and hosts there are.

CPU time that instrumentation adds to one call: by 1, 8 and 64 threads; to 1, 100 and 10,000 hosts, each met before;
and in 1 and 1,000 asyncio tasks. In the same rounds, bare calls, and the floor (what the SDK costs for the same span
and histogram, by hand): what grows there too is the interpreter's or the SDK's.

    python benchmarks/scale.py [threads|hosts|tasks]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle

os.environ["OTEL_PROPAGATORS"] = "tracecontext"

import aiohttp
import requests
import sdk
from aiohttp_client import by_hand as floor_config
from harness import Arm, Call, Measured, Row, added, each, report, show
from http_server import serving
from processes import Arms, taking_turns
from sending import send, session, then

from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline.requests import RequestsInstrumentor

FLAT = 1.10
CALLS = 6400
BURST = 1000


def at_each(thing: str, numbers: tuple[int, ...], arms: Callable[[int], dict[str, Arm]]) -> dict[str, Arm]:
    """The arms of every number of threads, of hosts or of tasks."""
    sizes = {f"{number:,} {thing}{'s' * (number > 1)}": arms(number) for number in numbers}
    return {f"{size}: {name}": arm for size, named in sizes.items() for name, arm in named.items()}


def beside(case: str, measured: Measured) -> list[Row]:
    """Compare what every size adds with the first size."""
    at: dict[str, Measured] = {}
    for arm, costs in measured.items():
        size, _, name = arm.partition(": ")
        at.setdefault(size, {})[name] = costs
    for size, costs in at.items():
        show(f"{case}, {size}", costs)
    (first, least), *others = at.items()
    return [row(case, f"added with {size} ÷ with {first}", costs, least) for size, costs in others]


def row(case: str, measure: str, costs: Measured, least: Measured) -> Row:
    note = f"the floor: {grown('floor', costs, least):.2f}"
    return Row(f"scale: {case}", measure, grown("hopline", costs, least), FLAT, note)


def grown(name: str, costs: Measured, least: Measured) -> float:
    """How many times as much an arm adds."""
    return added(costs, name) / added(least, name)


def by_threads() -> list[Row]:
    """One thread runs at a time, on any core; on one core, it finds the caches as the thread before has left them."""
    on_any, on_one = (
        beside(f"requests{where}", each(taking_turns(threads_on(cores), rounds=15, calls=1), CALLS))
        for where, cores in (("", None), (", all threads on one core", 1))
    )
    return [
        replace(any_core, note=f"{any_core.note}; with all threads on one core {one.value:.2f}, {one.note}")
        for any_core, one in zip(on_any, on_one, strict=True)
    ]


def threads_on(cores: int | None) -> Arms:
    return partial(at_each, "thread", (1, 8, 64), partial(arms_in_threads, cores))


def arms_in_threads(cores: int | None, threads: int) -> dict[str, Arm]:
    providers, instrumentor = sdk.providers(), RequestsInstrumentor()
    by_hand = sdk.by_hand(providers)
    bare = in_threads(threads, send)

    def stay() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    return {
        "bare": Arm(bare, stay),
        "floor": Arm(in_threads(threads, lambda: then(send(), by_hand)), stay),
        "hopline": Arm(bare, lambda: (stay(), instrumentor.instrument(**providers)), instrumentor.uninstrument),
    }


def in_threads(threads: int, make: Callable[[], Call]) -> Call:
    """A call that makes many, in so many threads, each with a session of its own."""
    pool = ThreadPoolExecutor(threads)

    def one_share(_: object) -> None:
        call = make()
        for _ in range(CALLS // threads):
            call()

    return lambda: list(pool.map(one_share, range(threads)))


def by_hosts() -> list[Row]:
    return beside("requests", taking_turns(partial(at_each, "host", (1, 100, 10_000), arms_to)))


def arms_to(hosts: int) -> dict[str, Arm]:
    """Each visits every host once before its first turn: a host that is met for the first time is another matter."""
    providers, instrumentor = sdk.providers(), RequestsInstrumentor()
    by_hand, sending = sdk.by_hand(providers), session()
    names = [f"host-{number}.example.com" for number in range(hosts)]
    requested = [sending.prepare_request(requests.Request("GET", f"http://{name}/users/17")) for name in names]
    prepared, attributes = cycle(requested), cycle([sdk.attributes(name) for name in names])

    def bare() -> None:
        sending.send(next(prepared).copy())

    def floor() -> None:
        bare()
        by_hand(*next(attributes))

    def visiting(call: Call, before: Call = lambda: None, after: Call = lambda: None) -> Arm:
        return Arm(call, lambda: (before(), [call() for _ in range(hosts)]), after)

    return {
        "bare": visiting(bare),
        "floor": visiting(floor),
        "hopline": visiting(bare, lambda: instrumentor.instrument(**providers), instrumentor.uninstrument),
    }


def by_tasks() -> list[Row]:
    with serving() as url:
        tasks = partial(at_each, "task", (1, 1000), partial(arms_in_tasks, url))
        return beside("aiohttp", each(taking_turns(tasks, rounds=30, calls=1), BURST))


def arms_in_tasks(url: str, tasks: int) -> dict[str, Arm]:
    providers, instrumentor = sdk.providers(), AioHttpClientInstrumentor()
    bare = burst(url, tasks)
    return {
        "bare": Arm(bare),
        "floor": Arm(burst(url, tasks, floor_config(url, **providers))),
        "hopline": Arm(bare, lambda: instrumentor.instrument(**providers), instrumentor.uninstrument),
    }


def burst(url: str, tasks: int, config: aiohttp.TraceConfig | None = None) -> Call:
    """A thousand requests through twenty connections, by so many tasks at once."""

    async def fetch(sending: aiohttp.ClientSession, times: int) -> None:
        for _ in range(times):
            async with sending.get(url) as response:
                await response.read()

    async def all_at_once() -> None:
        connector = aiohttp.TCPConnector(limit=20)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[config] if config else None) as sending:
            await asyncio.gather(*(fetch(sending, BURST // tasks) for _ in range(tasks)))

    return lambda: asyncio.run(all_at_once())


CASES: dict[str, Callable[[], list[Row]]] = {"threads": by_threads, "hosts": by_hosts, "tasks": by_tasks}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        report(CASES[sys.argv[1]]())
    else:
        for name in CASES:
            subprocess.run([sys.executable, __file__, name], check=True)
