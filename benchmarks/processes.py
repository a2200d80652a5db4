"""Arms that take turns, each in a process of its own.

A turn takes a fraction of a second, so that what slows the machine down for a while strikes all arms alike. An arm's
process does nothing else: its code stays as the interpreter has specialized it, which patches that come and go would
undo. Where objects lie in memory is settled when a process starts, and makes a tenth of difference between two of
them, so every arm has a few, one after the other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from harness import Arm, Measured, burst, in_rounds, limited

Arms = Callable[[], dict[str, Arm]]

PROCESSES = 5  # of each arm

# Without these, glibc maps and unmaps the 256 KiB that asyncio receives into either each time or never, by what the
# process happens to have freed before, which would make a tenth of difference, too.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(64 << 20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(128 << 20))

_new = get_context("spawn")


def taking_turns(arms: Arms, rounds: int = 50, calls: int = 1000) -> Measured:
    """CPU microseconds of one call, of each arm in each round.

    Args:
        arms: makes them, in each of the processes; it is pickled.
        rounds: in how many rounds each has its turn, divided among its processes.
        calls: how many calls a turn has.
    """
    measured: Measured = {name: [] for name in arms()}
    rounds_of_each = math.ceil(limited(rounds) / PROCESSES)
    for _ in range(PROCESSES):
        with started(arms, list(measured), calls) as turns:
            found = in_rounds(turns, lambda name: turns[name](), rounds_of_each)
        for name, costs in found.items():
            measured[name] += costs
    return measured


@contextmanager
def started(arms: Arms, names: list[str], calls: int) -> Iterator[dict[str, Callable[[], float]]]:
    """A process for each arm, until the block ends; gives what has a turn of each, and returns its cost."""
    with ExitStack() as ends:
        pipes = {name: ends.enter_context(process(arms, name, calls)) for name in names}
        for pipe in pipes.values():
            pipe.recv()  # it is ready
        yield {name: turn_of(pipe) for name, pipe in pipes.items()}


@contextmanager
def process(arms: Arms, name: str, calls: int) -> Iterator[Connection]:
    here, there = _new.Pipe()
    child = _new.Process(target=serve, args=(there, arms, name, calls), daemon=True)
    child.start()
    there.close()
    yield here
    here.send(False)
    child.join()


def turn_of(pipe: Connection) -> Callable[[], float]:
    def turn() -> float:
        pipe.send(True)
        cost: float = pipe.recv()
        return cost

    return turn


def serve(pipe: Connection, arms: Arms, name: str, calls: int) -> None:
    """What an arm's process does: turns, as long as it is asked for one."""
    arm = arms()[name]
    arm.on()
    pipe.send(None)
    while pipe.recv():
        pipe.send(burst(arm.call, calls, calls // 20))
    arm.off()
