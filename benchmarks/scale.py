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
from itertools import cycle

os.environ["OTEL_PROPAGATORS"] = "tracecontext"

import aiohttp
import requests
import sdk
from aiohttp_client import by_hand as floor_config
from harness import Arm, Call, Measured, Row, added, each, in_new_processes, interleaved, report, show
from http_server import serving
from sending import send, session, then

from hopline.aiohttp_client import AioHttpClientInstrumentor
from hopline.requests import RequestsInstrumentor

FLAT = 1.10
CALLS = 6400
BURST = 1000
HOSTS_IN_A_TURN = 10_000


def by_turns(sizes: dict[str, dict[str, Arm]], rounds: int, calls: int, parts: int = 1) -> Measured:
    """Measure the arms of every size, all of them by turns."""
    arms = {f"{size}: {name}": arm for size, named in sizes.items() for name, arm in named.items()}
    return each(interleaved(arms, rounds, calls), parts)


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
    ours, floor = (added(costs, name) / added(least, name) for name in ("hopline", "floor"))
    return Row(f"scale: {case}", measure, ours, FLAT, f"the floor: {floor:.2f}")


def by_threads(rounds: int) -> Measured:
    sizes = {f"{number} thread{'s' * (number > 1)}": arms_in_threads(number) for number in (1, 8, 64)}
    return by_turns(sizes, rounds, calls=1, parts=CALLS)


def arms_in_threads(threads: int) -> dict[str, Arm]:
    providers, instrumentor = sdk.providers(), RequestsInstrumentor()
    by_hand = sdk.by_hand(providers)
    bare = in_threads(threads, send)
    return {
        "bare": Arm(bare),
        "floor": Arm(in_threads(threads, lambda: then(send(), by_hand))),
        "hopline": Arm(bare, lambda: instrumentor.instrument(**providers), instrumentor.uninstrument),
    }


def in_threads(threads: int, make: Callable[[], Call]) -> Call:
    """A call that makes many, in so many threads, each with a session of its own."""
    pool = ThreadPoolExecutor(threads)

    def one_share(_: object) -> None:
        call = make()
        for _ in range(CALLS // threads):
            call()

    return lambda: list(pool.map(one_share, range(threads)))


def by_hosts(rounds: int) -> Measured:
    sizes = {f"{number:,} host{'s' * (number > 1)}": arms_to(number) for number in (1, 100, 10_000)}
    return by_turns(sizes, rounds, calls=HOSTS_IN_A_TURN)


def arms_to(hosts: int) -> dict[str, Arm]:
    """Each visits every host once before its turn: a host that is met for the first time is another matter."""
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


def by_tasks(rounds: int) -> Measured:
    with serving() as url:
        sizes = {f"{number:,} task{'s' * (number > 1)}": arms_in_tasks(url, number) for number in (1, 1000)}
        return by_turns(sizes, rounds, calls=1, parts=BURST)


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


# What is called, how it is measured, in how many rounds.
CASES: dict[str, tuple[str, Callable[[int], Measured], int]] = {
    "threads": ("requests", by_threads, 15),
    "hosts": ("requests", by_hosts, 9),
    "tasks": ("aiohttp", by_tasks, 15),
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        called, measure, rounds = CASES[sys.argv[1]]
        report(beside(called, in_new_processes(measure, rounds)))
    else:
        for name in CASES:
            subprocess.run([sys.executable, __file__, name], check=True)
