"""`bench leaderboard`: a static site over results folders, suites and dates, with the records that it was made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.reporting.leaderboard.board import Entry, board_rows, groups_of, history_rows
from bench.reporting.leaderboard.check import faults_of, gather
from bench.reporting.leaderboard.record import digest, file_name, read_record, record_of, to_text
from bench.reporting.leaderboard.site import site
from bench.reporting.output_folder import LEADERBOARD, check_folder, fresh_folder
from bench.reporting.records import records_csv
from bench.runtime.log import get_logger
from bench.store.atomic import atomic_write
from bench.store.run_store import find_runs

logger = get_logger(__name__)


def check_records(sources: Sequence[Path | str]) -> tuple[int, list[str]]:
    """How many records there are, and a sentence for each fault: none where all are sound.

    Does what `bench leaderboard --check` does. A record is sound when its digest fits its content, its values have the
    shape that its prompts and samples ask for, and the means and intervals that it states follow from them. UsageError:
    no such file, or a folder without records.

    >>> import bench
    >>> _ = bench.leaderboard([RESULTS], OUT)
    >>> bench.check_records([OUT])[1]
    []
    """
    paths = gather(sources)
    return len(paths), faults_of(paths)


def leaderboard(results: Sequence[Path | str], out: Path | str) -> list[Path]:
    """Write index.html, leaderboard.csv, history.csv and records/<suite>/<run>-<digest>.json; returns the files.

    Does what `bench leaderboard` does. `results` are results folders, and folders of records or records that others
    made, which are checked. Runs that are not finished or outdated are left out and named on the page. A record that
    occurs more than once counts once; a run that was made or scored again is another point of its history. UsageError:
    nothing there, a record with a fault, or `out` holds something that no leaderboard made.

    >>> import bench
    >>> import bench
    >>> [path.name for path in bench.leaderboard([RESULTS], OUT)][:2]
    ['index.html', 'leaderboard.csv']
    """
    out = Path(out)
    check_folder(out, LEADERBOARD)
    entries: dict[str, Entry] = {}
    left_out: list[str] = []
    for source in map(Path, results):
        found, away = _entries(source, out)
        left_out += away
        folder = source if source.is_dir() else source.parent
        for entry in found:
            entries.setdefault(digest(entry.record), entry).folders.add(str(folder.resolve()))
    if not entries:
        raise UsageError(f"no finished runs or records in {', '.join(map(str, results))}")
    for line in left_out:
        logger.warning(f"left out of the leaderboard: {line}")
    listed = sorted(entries.values(), key=lambda entry: (entry.record.suite, entry.age))
    return _write(listed, left_out, [_shown(Path(source)) for source in results], out)


def _write(listed: Sequence[Entry], left_out: Sequence[str], sources: Sequence[str], out: Path) -> list[Path]:
    records = {_address(one): to_text(one.record) for one in listed}
    groups = groups_of(listed)
    contents = {
        "index.html": site(groups, left_out, sources),
        "leaderboard.csv": records_csv(board_rows(groups)),
        "history.csv": records_csv(history_rows(groups)),
        **records,
    }
    contents = {name: content for name, content in contents.items() if content}
    with fresh_folder(out, LEADERBOARD) as fresh:
        for name, content in contents.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_write(fresh / name, content)
    return [out / name for name in contents]


def _address(entry: Entry) -> str:
    return f"records/{entry.record.suite}/{file_name(entry.record)}"


def _shown(source: Path) -> str:
    """The last part of a path: where folders lie on a machine is nobody else's business."""
    return source.resolve().name or str(source)


def _entries(source: Path, out: Path) -> tuple[list[Entry], list[str]]:
    """The finished runs or the records of one source, and what is left out with the reason."""
    stores = find_runs(source) if source.is_dir() else []
    if stores:
        from bench.analysis.opened import open_runs

        runs, away, _ = open_runs(source)
        told = [f"{one.run} of {_shown(source)} ({one.why})" for one in away]
        return [Entry(record_of(run), _shown(source), _report(source, run.suite, out)) for run in runs], told
    paths = gather([source])
    faults = faults_of(paths)
    if faults:
        more = f" (and {len(faults) - 1} more faults: see --check)" if len(faults) > 1 else ""
        raise UsageError(f"{faults[0]}{more}")
    return [Entry(read_record(path).record, _shown(source)) for path in paths], []


def _report(source: Path, suite: str, out: Path) -> str:
    """The address of the report of a suite, from the site, where there is one in the results folder."""
    for folder in (source / "report" / suite, source / "report"):
        page = folder / "index.html"
        if page.is_file():
            return Path(os.path.relpath(page.resolve(), out.resolve())).as_posix()
    return ""
