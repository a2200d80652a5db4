"""The ``hopline`` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hopline._version import __version__


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
    watch.add_argument("--interval", type=float, default=2.0, help="seconds between two looks (%(default)s)")
    watch.set_defaults(run=_watch)
    doctor = commands.add_parser("doctor", help="show what an application would get, and what stands in its way")
    doctor.set_defaults(run=_doctor)
    chosen = parser.parse_args(arguments)
    status: int = chosen.run(chosen)
    return status


def _demo(arguments: argparse.Namespace) -> int:
    from hopline.cli.demo import run

    return run()


def _watch(arguments: argparse.Namespace) -> int:
    from hopline.cli.watch import run

    return run(arguments.endpoint, arguments.interval)


def _doctor(arguments: argparse.Namespace) -> int:
    from hopline.cli.doctor import run

    return run()
