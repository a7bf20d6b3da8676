"""Whether records are what they say: digests, shapes, and means that follow from their own values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.analysis.summary import metric_interval
from bench.errors import UsageError
from bench.reporting.leaderboard.record import Record, Stated, digest, file_name, read_record, record_files, run_of

_TOLERANCE = 1e-9
"""Relative to the largest value: the same values give the same mean, but for the order of summation."""


def gather(sources: Iterable[Path | str]) -> list[Path]:
    """The record files that sources name: files, or folders of them. UsageError for one that is not there."""
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            files = record_files(source)
            if not files:
                raise UsageError(f"{source} has no records: `bench leaderboard RESULTS --out DIR` writes DIR/records")
            found += files
        elif source.is_file():
            found.append(source)
        else:
            raise UsageError(f"there is no record or folder {source}")
    return list(dict.fromkeys(found))


def faults_of(paths: Sequence[Path]) -> list[str]:
    """A sentence per fault; [] where all records are sound."""
    faults: list[str] = []
    for path in paths:
        try:
            stated = read_record(path)
        except UsageError as error:
            faults.append(str(error))
            continue
        faults += [f"{path}: {fault}" for fault in _faults(stated)]
    return faults


def _faults(stated: Stated) -> Iterator[str]:
    record = stated.record
    if stated.sha256 != digest(record):
        yield "its sha256 does not fit its content: it was changed after it was written"
    if stated.path.name != file_name(record):
        yield f"the file must be called {file_name(record)}"
    shapes = list(_shapes(record))
    yield from shapes
    if not shapes:
        yield from _means(record)


def _shapes(record: Record) -> Iterator[str]:
    """What keeps a record from being read as a run."""
    ids = [prompt.id for prompt in record.prompts]
    if len(set(ids)) < len(ids):
        yield "two prompts have one id"
    for name, one in record.metrics.items():
        lines = 1 if one.kind == "set" else len(record.prompts)
        width = record.samples if one.kind == "image" else 1
        if len(one.values) != lines or any(len(line) != width for line in one.values):
            yield f"{name}: values must be {lines} lines of {width}"
        if one.card.get("direction") not in ("higher", "lower"):
            yield f"{name}: the direction of its card must be higher or lower"


def _means(record: Record) -> Iterator[str]:
    """Means and limits that do not follow from the values."""
    try:
        run = run_of(record)
        intervals = {name: metric_interval(run, name) for name in record.metrics}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        yield f"cannot be read as a run ({error})"
        return
    for name, one in record.metrics.items():
        found = intervals[name]
        scale = max([abs(value) for line in one.values for value in line if value is not None] or [1.0])
        for what, stated, value in (
            ("mean", one.mean, found.mean),
            ("ci_low", one.ci_low, found.low),
            ("ci_high", one.ci_high, found.high),
        ):
            if (stated is None) != (not math.isfinite(value)) or (
                stated is not None and abs(stated - value) > _TOLERANCE * max(scale, 1e-12)
            ):
                yield f"{name}: {what} is stated as {stated}, but its values give {_short(value)}"


def _short(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else "none"
