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
    demo = commands.add_parser("demo", help="send a few requests through two services and show what arrives")
    demo.set_defaults(run=_demo)
    chosen = parser.parse_args(arguments)
    status: int = chosen.run(chosen)
    return status


def _demo(arguments: argparse.Namespace) -> int:
    from hopline.cli.demo import run

    return run()
