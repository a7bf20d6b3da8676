"""The gate: summaries against thresholds and a baseline. Every rule of the thresholds file gets one verdict.

An interval that straddles a bound decides nothing: the verdict is `undecided`, which fails only when strict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from bench.errors import UsageError
from bench.gate.github import append_step_summary, markdown_summary, workflow_commands
from bench.gate.judging import Judged, judged
from bench.gate.junit import junit as junit_xml
from bench.gate.text import verdicts_text
from bench.gate.update import updated
from bench.gate.verdict import Verdict, exit_code
from bench.store.atomic import write_output
from bench.store.on_object_stores import on_object_stores
from bench.store.pictures import verifying
from bench.store.select import RunSources


@dataclass(frozen=True, slots=True)
class Outcome(Sequence[Verdict]):
    """The verdicts in the order of the thresholds file, what `bench check` prints, its exit code, the files written."""

    verdicts: tuple[Verdict, ...]
    text: str
    code: int
    strict: bool = False
    written: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every rule passed. Undecided is not passed, though it lets the runs through unless strict."""
        return self.code == 0 and not self.undecided

    @property
    def undecided(self) -> bool:
        """Whether nothing failed and something is undecided."""
        return self.code == 0 and any(verdict.status == "undecided" for verdict in self.verdicts)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Verdict, ...]: ...
    def __getitem__(self, index: int | slice) -> Verdict | tuple[Verdict, ...]:
        """The verdict at a position."""
        return self.verdicts[index]

    def __len__(self) -> int:
        """How many verdicts there are."""
        return len(self.verdicts)


@on_object_stores()
def check(
    runs: RunSources | None = None,
    thresholds: Path | str | None = None,
    baseline: Path | str | dict[str, Any] | None = None,
    *,
    update_baseline: bool = False,
    accept: bool = False,
    plan: bool = False,
    common: bool = False,
    strict: bool = False,
    junit: Path | str | None = None,
    summary: Path | str | None = None,
    results: Path | str = Path("results"),
    study: Path | str | None = None,
    suite: str | None = None,
    verify: bool = False,
) -> Outcome:
    """Judge runs by thresholds, or renew the baseline. Does what `bench check` does; the verdicts are its items.

    `runs` are run folders, stores, or names in `results` (None: all of `results`). `thresholds` is a TOML file,
    `baseline` what drops are measured against (None: the file that the thresholds name). `junit` and `summary` are
    files to write as JUnit XML and Markdown. `strict`: an undecided verdict fails, too. `common`: only over the values
    that all runs have. `study` is the folder of a human preference study, for bounds on what people say. `verify` reads
    all pictures, also those that look unchanged. `plan`: also how large each allowance must be to pass when nothing
    changed. `update_baseline` writes these runs to the baseline, which a drop that fails or is undecided prevents
    unless `accept`. `suite`: only runs of that suite. A name means the newest run, finished or not.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.

    >>> import bench
    >>> bench.check(results=RESULTS, thresholds=THRESHOLDS).code
    0
    """
    chosen = results if runs is None else runs
    with verifying(verify):
        if update_baseline:
            if isinstance(baseline, dict):
                raise UsageError("update_baseline needs a file to write: pass its path as baseline")
            if common:
                raise UsageError("a baseline stores every value of its runs: use --update-baseline without --common")
            if (junit or summary) and thresholds is None:
                raise UsageError("--junit and --summary write verdicts, which need thresholds: pass --thresholds FILE")
            outcome = _updated(chosen, thresholds, baseline, (results, suite), (strict, accept), study)
        else:
            outcome = _judged(chosen, thresholds, baseline, (results, suite), (strict, common, plan), study)
    return replace(outcome, written=tuple(_written(outcome, junit, summary)))


def _updated(
    runs: RunSources,
    thresholds: Path | str | None,
    baseline: Path | str | None,
    where: tuple[Path | str, str | None],
    how: tuple[bool, bool],
    study: Path | str | None,
) -> Outcome:
    (results, suite), (strict, accept) = where, how
    path = None if baseline is None else Path(baseline)
    found, text, code = updated(runs, thresholds, path, results, strict=strict, accept=accept, study=study, suite=suite)
    return Outcome(found, text, code, strict)


def _judged(
    runs: RunSources,
    thresholds: Path | str | None,
    baseline: Path | str | dict[str, Any] | None,
    where: tuple[Path | str, str | None],
    how: tuple[bool, bool, bool],
    study: Path | str | None,
) -> Outcome:
    (results, suite), (strict, common, plan) = where, how
    if thresholds is None:
        raise UsageError("no thresholds are given: pass --thresholds FILE, for example results/thresholds/shapes.toml")
    made = judged(runs, thresholds, baseline, results, common=common, study=study, suite=suite)
    code = exit_code(made.verdicts, strict)
    text = verdicts_text(made.verdicts, code) + (f"{made.told}\n" if made.told else "")
    return Outcome(made.verdicts, text + (_planned(made) if plan else ""), code, strict)


def _planned(made: Judged) -> str:
    from bench.gate.allowance import allowances, allowances_text

    return "\n" + allowances_text(allowances(made.limits, made.summaries, made.baseline))


def _written(outcome: Outcome, junit: Path | str | None, summary: Path | str | None) -> list[Path]:
    """Write the JUnit and Markdown files that were asked for; returns them."""
    files = []
    if junit is not None:
        write_output(Path(junit), junit_xml(outcome.verdicts, outcome.strict))
        files.append(Path(junit))
    if summary is not None:
        write_output(Path(summary), markdown_summary(outcome.verdicts, outcome.code))
        files.append(Path(summary))
    return files


def verdict_rows(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain JSON data: what `bench check --json` prints. NaN is null."""
    import dataclasses
    import math

    rows = []
    for verdict in outcome.verdicts:
        row = dataclasses.asdict(verdict)
        row["trained"] = list(verdict.trained)
        rows.append({key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()})
    return {"passed": outcome.passed, "undecided": outcome.undecided, "code": outcome.code, "verdicts": rows}


def tell_actions(outcome: Outcome, environment: Mapping[str, str]) -> str:
    """Under GitHub Actions: append to the job's summary, and return the annotations to print; else "" and nothing."""
    if environment.get("GITHUB_ACTIONS") != "true" or not outcome.verdicts:
        return ""
    append_step_summary(markdown_summary(outcome.verdicts, outcome.code), environment)
    return workflow_commands(outcome.verdicts, outcome.strict)
