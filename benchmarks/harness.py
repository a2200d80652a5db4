"""What the benchmarks share: arms that take turns, in CPU time, and rows that say whether a target is reached."""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from time import process_time

Call = Callable[[], object]
Clock = Callable[[], float]
Measured = dict[str, list[float]]
"""What each arm costs in each round."""


@dataclass(frozen=True)
class Arm:
    """One way of doing the same thing.

    Attributes:
        call: does it once.
        on: called before a turn, or before the first of many.
        off: called after it, or after the last.
    """

    call: Call
    on: Call = lambda: None
    off: Call = lambda: None


@dataclass(frozen=True)
class Row:
    """A figure and its target.

    Attributes:
        case: what was done.
        measure: what the figure is.
        value: the figure.
        target: what it should be at most; None where nothing is asked for.
        note: what a reader has to know beside the figure.
    """

    case: str
    measure: str
    value: float
    target: float | None
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.target is None or self.value <= self.target


def limited(rounds: int) -> int:
    """As many rounds as asked for, or fewer when HOPLINE_BENCH_ROUNDS says so."""
    return min(rounds, int(os.environ.get("HOPLINE_BENCH_ROUNDS") or rounds))


def in_rounds(names: Iterable[str], cost: Callable[[str], float], rounds: int) -> Measured:
    """The costs of each, round by round; they take turns, and any of them may be the first."""
    measured: Measured = {name: [] for name in names}
    for number in range(-1, rounds):
        for name in random.sample(list(measured), len(measured)):
            found = cost(name)
            if number >= 0:  # the first round warms up
                measured[name].append(found)
    return measured


def interleaved(calls: dict[str, Call], rounds: int, warm_up: int, clock: Clock = process_time) -> Measured:
    """CPU microseconds of each call in each round, all in this process; so often without being measured before."""
    return in_rounds(calls, lambda name: burst(calls[name], 1, warm_up, clock), limited(rounds))


def burst(call: Call, calls: int, warm_up: int, clock: Clock = process_time) -> float:
    """CPU microseconds of one call, of so many."""
    for _ in range(warm_up):
        call()
    gc.collect()
    gc.disable()
    try:
        before = clock()
        for _ in range(calls):
            call()
        return (clock() - before) / calls * 1e6
    finally:
        gc.enable()


def each(measured: Measured, parts: float) -> Measured:
    """What was measured, divided by how many things one call did."""
    return {name: [cost / parts for cost in costs] for name, costs in measured.items()}


def median(measured: Measured, name: str) -> float:
    return statistics.median(measured[name])


def added(measured: Measured, name: str, without: str = "bare") -> float:
    """What an arm costs more than another: the median of the differences, round by round."""
    pairs = zip(measured[name], measured[without], strict=True)
    return statistics.median(more - less for more, less in pairs)


def show(title: str, measured: Measured, without: str | None = "bare", unit: str = "microseconds per call") -> None:
    """Print what was measured."""
    print(f"\n{title}: CPU {unit}, medians, Python {sys.version.split()[0]}")
    for name in measured:
        extra = "" if without in (None, name) else f"   added {added(measured, name, without):8.2f}"
        print(f"  {name:38} {median(measured, name):8.2f}{extra}")


def verdict(row: Row) -> str:
    target = "no target" if row.target is None else f"target: at most {row.target:g}"
    said = "" if row.target is None else " reached" if row.reached else " MISSED"
    note = f"; {row.note}" if row.note else ""
    return f"  {row.case}: {row.measure} = {row.value:.2f} ({target}){said}{note}"


def report(rows: list[Row]) -> None:
    """Print figures beside their targets, or append them to the file that HOPLINE_BENCH_ROWS names."""
    path = os.environ.get("HOPLINE_BENCH_ROWS")
    if not path:
        print(*map(verdict, rows), sep="\n")
        return
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
