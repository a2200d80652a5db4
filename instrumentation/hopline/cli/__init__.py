"""The ``hopline`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hopline._version import __version__

_CLOSED_PIPE = 141  # as a shell has it of a program that SIGPIPE ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line (default: the process's own).

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="hopline", description="Follow one request through every hop.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="send a few requests through several services and show what arrives")
    demo.set_defaults(run=_demo)
    watch = commands.add_parser("watch", help="listen like a statsd server and show what arrives")
    watch.add_argument("--endpoint", default="udp://127.0.0.1:8125", help="where to listen (%(default)s)")
    watch.add_argument("--interval", type=_seconds, default=2.0, help="seconds between two looks (%(default)s)")
    watch.set_defaults(run=_watch)
    doctor = commands.add_parser("doctor", help="show what an application would get, and what stands in its way")
    doctor.set_defaults(run=_doctor)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
        print(end="", flush=True)  # noqa: T201 - whoever reads may be gone, which would else be told at exit
    except BrokenPipeError:
        # What reads has had enough, such as `head`. What is still in the buffer is written to nowhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    return status


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.01 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0.01 and 86400 seconds")
    return seconds


def _demo(arguments: argparse.Namespace) -> int:
    from hopline.cli.demo import run

    return run()


def _watch(arguments: argparse.Namespace) -> int:
    from hopline.cli.watch import run

    return run(arguments.endpoint, arguments.interval)


def _doctor(arguments: argparse.Namespace) -> int:
    from hopline.cli.doctor import run

    return run()
