"""The command line `bench`: one file per command, each of which parses, calls a stage, and gives an exit code."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` default to those of the process. Returns the exit code.

    0 fine; 1 a gate failed; 2 wrong usage or bad input; 3 not comparable; 4 something needed is missing;
    130 interrupted.
    """
    from bench.cli.app import execute

    return execute(arguments)
