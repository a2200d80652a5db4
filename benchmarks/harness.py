"""What the benchmarks share: arms that take turns, in CPU time, and rows that say whether a target is reached."""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import process_time


@dataclass(frozen=True)
class Arm:
    """One way of doing the same thing.

    Attributes:
        call: does it once.
        on: called before a turn.
        off: called after it.
    """

    call: Callable[[], object]
    on: Callable[[], object] = lambda: None
    off: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Row:
    """A figure and its target.

    Attributes:
        case: what was done.
        measure: what the figure is.
        value: the figure.
        target: what it should be at most.
    """

    case: str
    measure: str
    value: float
    target: float

    @property
    def reached(self) -> bool:
        return self.value <= self.target


def interleaved(arms: dict[str, Arm], rounds: int = 15, calls: int = 2000) -> dict[str, list[float]]:
    """CPU microseconds of one call, of each arm in each round; the arms take turns in being the first."""
    measured: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(-1, rounds):
        names = list(arms)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            microseconds = turn(arms[name], calls)
            if number >= 0:  # the first round warms up
                measured[name].append(microseconds)
    return measured


def turn(arm: Arm, calls: int) -> float:
    """CPU microseconds of one call of an arm."""
    call = arm.call
    arm.on()
    try:
        for _ in range(max(calls // 20, min(calls, 20))):
            call()
        gc.collect()
        gc.disable()
        before = process_time()
        for _ in range(calls):
            call()
        return (process_time() - before) / calls * 1e6
    finally:
        gc.enable()
        arm.off()


def median(measured: dict[str, list[float]], name: str) -> float:
    return statistics.median(measured[name])


def added(measured: dict[str, list[float]], name: str, without: str = "bare") -> float:
    """What an arm costs more than another: the median of the differences, round by round."""
    pairs = zip(measured[name], measured[without], strict=True)
    return statistics.median(more - less for more, less in pairs)


def show(title: str, measured: dict[str, list[float]], without: str | None = "bare") -> None:
    """Print what was measured."""
    print(f"\n{title}: CPU microseconds per call, medians, Python {sys.version.split()[0]}")
    for name in measured:
        extra = "" if without in (None, name) else f"   added {added(measured, name, without):8.2f}"
        print(f"  {name:30} {median(measured, name):8.2f}{extra}")


def report(rows: list[Row]) -> None:
    """Print figures beside their targets, and append them to the file that HOPLINE_BENCH_ROWS names."""
    for row in rows:
        verdict = "reached" if row.reached else "MISSED"
        print(f"  {row.case}: {row.measure} = {row.value:.2f} (target: at most {row.target:g}) {verdict}")
    path = os.environ.get("HOPLINE_BENCH_ROWS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
