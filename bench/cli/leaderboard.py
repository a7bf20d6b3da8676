"""`bench leaderboard`: results over time and suites as a static site, and records that can be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="Results folders, folders of records, or records.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")] = Path("leaderboard"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; check the records: digests, shapes, means and intervals.")
    ] = False,
) -> int:
    """Write a leaderboard with ranks and histories.

    The site is one page without scripts. Records hold every value, so others can collect and check them.
    """
    import bench
    from bench.cli.output import say
    from bench.errors import UsageError
    from bench.formatting import counted

    if check:
        count, faults = bench.check_records(results)
        for fault in faults:
            say(fault)
        say(f"{counted(count, 'record')}: {counted(len(faults), 'fault') if faults else 'no faults'}")
        return UsageError.exit_code if faults else 0
    written = bench.leaderboard(results, out)
    say(f"leaderboard: {out}")
    for path in written:
        if path.suffix != ".json":
            say(f"  {path}")
    say(f"  {out / 'records'}: {counted(sum(path.suffix == '.json' for path in written), 'record')}")
    return 0
