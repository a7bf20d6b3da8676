"""The gate: summaries against thresholds and a baseline. Every rule of the thresholds file gets one verdict.

An interval that straddles a bound decides nothing: the verdict is `undecided`, which fails only when strict.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from bench.analysis.common import over_common
from bench.analysis.comparable import largest_comparable, require_comparable
from bench.errors import UsageError
from bench.formatting import one_line
from bench.gate.baseline import read_baseline
from bench.gate.bounds import verdicts
from bench.gate.github import append_step_summary, markdown_summary, workflow_commands
from bench.gate.junit import junit as junit_xml
from bench.gate.ledger import key_of, read_ledger
from bench.gate.newest import newest_of
from bench.gate.summaries import Summary, summary_from
from bench.gate.text import verdicts_text
from bench.gate.thresholds import Dominance, Thresholds, read_thresholds
from bench.gate.verdict import Verdict, exit_code
from bench.store.atomic import atomic_write
from bench.store.runs import Run
from bench.store.select import LeftOut, RunSources, display_names, open_runs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts, the summaries they rest on, and what has to be said of the looks."""

    verdicts: tuple[Verdict, ...]
    limits: Thresholds
    summaries: tuple[Summary, ...]
    baseline: Mapping[str, Any] | None
    told: str = ""


def judged(
    runs: RunSources,
    thresholds: Path | str,
    baseline: Path | str | Mapping[str, Any] | None = None,
    results: Path | str = Path("results"),
    *,
    common: bool = False,
    looking: bool = True,
) -> Judged:
    """The verdicts on runs by a thresholds file, and a baseline (file) for drops.

    Without `baseline` it is the one that the thresholds file names, if any. Of a folder the newest run of each method
    is judged; those that are not finished, or not comparable with the others, are named, and get a verdict of their own
    by the rules of their method. `looking`: count a look where the file says `looks = "nightly"`.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.
    """
    opened, unfinished, named = open_runs(runs, results)
    limits = limits_of(opened, thresholds)
    named_file = limits.baseline if baseline is None else baseline
    before = named_file if isinstance(named_file, Mapping) or named_file is None else read_baseline(named_file)
    _require_baseline(limits, before)
    chosen, left_out = _judged_runs(opened, unfinished, limits, named)
    for omitted in left_out:
        logger.warning(one_line(f"excluded from the gate: {omitted.run} ({omitted.why})"))
    if common:
        chosen, captions = over_common(chosen)
        for caption in captions:
            logger.warning(one_line(caption))
    wanted = {rule.method for rule in limits.rules}
    wanted |= {rule.over for rule in limits.rules if isinstance(rule, Dominance)}
    names = [run.name for run in chosen]
    summaries = [
        summary_from(run, run.name if names.count(run.name) == 1 else shown)
        for run, shown in zip(chosen, display_names(chosen), strict=True)
        if run.method in wanted
    ]
    _refuse_percent_of_frechet(limits, summaries)
    look, told = None, ""
    if limits.looks == "nightly" and looking and before is not None:
        look, told = _looked(named_file, summaries)
    found = verdicts(limits, summaries, before, left_out, look, common=common)
    return Judged(tuple(found), limits, tuple(summaries), before, told)


def _looked(baseline: Path | str | Mapping[str, Any] | None, summaries: Sequence[Summary]) -> tuple[int, str]:
    """The number of this look, which is written to the ledger, and what is said of it."""
    if baseline is None or isinstance(baseline, Mapping):
        raise UsageError('looks = "nightly" counts looks in a file beside the baseline: give the baseline as a file')
    ledger, key = read_ledger(Path(baseline)), key_of(summaries)
    number = ledger.look(key)
    ledger.with_look(key).write()
    return number, ledger.told(number)


def _require_baseline(limits: Thresholds, before: Mapping[str, Any] | None) -> None:
    drops = [bound for bound in limits.bounds if bound.rule.startswith("max_drop")]
    if before is not None or (not drops and limits.looks == "once"):
        return
    if not drops:
        raise UsageError(f'{limits.path}: looks = "nightly" needs a baseline, beside which looks are counted')
    where = f"{limits.path}, line {drops[0].line}: [{drops[0].method}.{drops[0].metric}] {drops[0].rule}"
    raise UsageError(f"{where} needs a baseline: pass --baseline FILE, or set `baseline` in the thresholds file")


def _refuse_percent_of_frechet(limits: Thresholds, summaries: Sequence[Summary]) -> None:
    """Most of a Frechet distance on few images is its bias: a percentage of it is one of the bias."""
    for bound in (bound for bound in limits.bounds if bound.rule == "max_drop_percent"):
        for summary in (one for one in summaries if one.method == bound.method):
            entry = summary.metrics.get(bound.metric)
            if entry is not None and entry.features is not None:
                where = f"{limits.path}, line {bound.line}: [{bound.method}.{bound.metric}] max_drop_percent"
                raise UsageError(
                    f"{where} cannot be judged: at N = {entry.interval.n:,} images most of a Frechet distance is bias, "
                    f"and a percentage of bias means nothing; write max_drop of KID, or max of {bound.metric} at this N"
                )


def limits_of(runs: RunSources, thresholds: Path | str) -> Thresholds:
    """Read a thresholds file whose names are those of the catalogues and of the runs."""
    opened = open_runs(runs)[0]
    return read_thresholds(thresholds, _known_methods(opened), _known_metrics(opened))


def _judged_runs(
    runs: Sequence[Run], unfinished: Sequence[LeftOut], limits: Thresholds, named: bool
) -> tuple[list[Run], list[LeftOut]]:
    """The runs to judge, per suite: of a folder the newest of each method, as far as comparable; and those left out."""
    suites = sorted({run.suite for run in runs})
    chosen = [limits.suite] if limits.suite else suites
    if limits.suite and limits.suite not in suites:
        raise UsageError(f"{limits.path} applies to suite {limits.suite}, but all runs belong to {', '.join(suites)}")
    kept: list[Run] = []
    left_out: list[LeftOut] = []
    for suite in chosen:
        members = [run for run in runs if run.suite == suite]
        if named:
            require_comparable(members)
            kept += members
            continue
        members, begun = newest_of(members, [omitted for omitted in unfinished if omitted.suite == suite])
        same, others = largest_comparable(members) if members else ([], [])
        kept += same
        left_out += [*others, *begun]
    return kept, left_out


def _known_methods(runs: Sequence[Run]) -> list[str]:
    from bench.methods.catalogue import method_names

    return [*method_names(), *(run.method for run in runs)]


def _known_metrics(runs: Sequence[Run]) -> list[str]:
    from bench.registry.metrics import metric_names

    return [*metric_names(), *(name for run in runs for name in run.metrics)]


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
) -> Outcome:
    """Judge runs by thresholds, or renew the baseline. Does what `bench check` does; the verdicts are its items.

    `runs` are run folders, stores, or names in `results` (None: all of `results`). `thresholds` is a TOML file,
    `baseline` what drops are measured against (None: the file that the thresholds name). `junit` and `summary` are
    files to write as JUnit XML and Markdown. `strict`: an undecided verdict fails, too. `common`: only over the values
    that all runs have. `plan`: also how large each allowance must be to pass when nothing changed. `update_baseline`
    writes these runs to the baseline, which a drop that fails or is undecided prevents unless `accept`.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.

    >>> import bench
    >>> bench.check(results=RESULTS, thresholds=THRESHOLDS).code
    0
    """
    from bench.gate.update import updated

    chosen = results if runs is None else runs
    if update_baseline:
        if isinstance(baseline, dict):
            raise UsageError("update_baseline needs a file to write: pass its path as baseline")
        if common:
            raise UsageError("a baseline holds every value of its runs: give --update-baseline without --common")
        if (junit or summary) and thresholds is None:
            raise UsageError("--junit and --summary write verdicts, which need thresholds: pass --thresholds FILE")
        path = None if baseline is None else Path(baseline)
        found, text, code = updated(chosen, thresholds, path, results, strict=strict, accept=accept)
        outcome = Outcome(found, text, code, strict)
    else:
        if thresholds is None:
            raise UsageError(
                "no thresholds are given: pass --thresholds FILE, for example results/thresholds/shapes.toml"
            )
        made = judged(chosen, thresholds, baseline, results, common=common)
        code = exit_code(made.verdicts, strict)
        text = verdicts_text(made.verdicts, code) + (f"{made.told}\n" if made.told else "")
        outcome = Outcome(made.verdicts, text + (_planned(made) if plan else ""), code, strict)
    return replace(outcome, written=tuple(_written(outcome, junit, summary)))


def _planned(made: Judged) -> str:
    from bench.gate.allowance import allowances, allowances_text

    return "\n" + allowances_text(allowances(made.limits, made.summaries, made.baseline))


def _written(outcome: Outcome, junit: Path | str | None, summary: Path | str | None) -> list[Path]:
    """Write the JUnit and Markdown files that were asked for; returns them."""
    files = []
    if junit is not None:
        atomic_write(Path(junit), junit_xml(outcome.verdicts, outcome.strict))
        files.append(Path(junit))
    if summary is not None:
        atomic_write(Path(summary), markdown_summary(outcome.verdicts, outcome.code))
        files.append(Path(summary))
    return files


def verdict_rows(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain JSON data: what `bench check --json` prints. NaN is null."""
    import dataclasses
    import math

    rows = []
    for verdict in outcome.verdicts:
        row = dataclasses.asdict(verdict)
        rows.append({key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()})
    return {"passed": outcome.passed, "undecided": outcome.undecided, "code": outcome.code, "verdicts": rows}


def tell_actions(outcome: Outcome, environment: Mapping[str, str]) -> str:
    """Under GitHub Actions: append to the job's summary, and return the annotations to print; else "" and nothing."""
    if environment.get("GITHUB_ACTIONS") != "true" or not outcome.verdicts:
        return ""
    append_step_summary(markdown_summary(outcome.verdicts, outcome.code), environment)
    return workflow_commands(outcome.verdicts, outcome.strict)
