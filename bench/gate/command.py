"""What `bench check` does, without its command line: judge or renew the baseline, then write what CI wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.gate.baseline import baseline_of, changes, changes_text, read_baseline, write_baseline
from bench.gate.check import check, limits_of
from bench.gate.github import append_step_summary, markdown_summary, workflow_commands
from bench.gate.junit import junit as junit_xml
from bench.gate.text import verdicts_text
from bench.gate.verdict import Verdict, exit_code
from bench.store.atomic import atomic_write


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdicts, what to print, and the exit code."""

    verdicts: tuple[Verdict, ...]
    text: str
    code: int
    strict: bool = False


def run_gate(runs: Any, thresholds: Path | None, baseline: Path | None, strict: bool = False) -> Outcome:
    """Judge runs. UsageError without thresholds."""
    if thresholds is None:
        raise UsageError("nothing to judge by: give --thresholds FILE, for example results/thresholds/shapes.toml")
    found = check(runs, thresholds, baseline)
    return Outcome(tuple(found), verdicts_text(found), exit_code(found, strict), strict)


def update(
    runs: Any, thresholds: Path | None, baseline: Path | None, strict: bool = False, files: bool = False
) -> Outcome:
    """Write these runs as the new baseline and tell what changed against the old one.

    With thresholds they are judged first, against themselves for drops: what breaks an absolute bound or a required
    dominance is not written. Without `baseline` the file is the one that the thresholds file names. `files`: verdicts
    will be written, too, so there have to be some.
    """
    if files and thresholds is None:
        raise UsageError("there are no verdicts to write to --junit or --summary: give --thresholds FILE")
    if baseline is None and thresholds is not None:
        baseline = limits_of(runs, thresholds).baseline
    if baseline is None:
        raise UsageError("--update-baseline needs the file to write: give --baseline FILE")
    old = read_baseline(baseline) if baseline.exists() else None
    new = baseline_of(runs)
    found = check(runs, thresholds, new) if thresholds is not None else []
    code = exit_code(found, strict)
    text = changes_text(changes(old, new))
    if found:
        text = f"{verdicts_text(found)}\n{text}"
    if code:
        return Outcome(tuple(found), f"{text}the baseline {baseline} was not changed: the gate fails\n", code, strict)
    write_baseline(baseline, new)
    return Outcome(tuple(found), f"{text}wrote the baseline {baseline} of {len(new['summaries'])} runs\n", 0, strict)


def write_files(outcome: Outcome, junit: Path | None, summary: Path | None) -> list[Path]:
    """Write the JUnit and Markdown files that were asked for; returns them."""
    files = []
    if junit is not None:
        atomic_write(junit, junit_xml(outcome.verdicts, outcome.strict))
        files.append(junit)
    if summary is not None:
        atomic_write(summary, markdown_summary(outcome.verdicts, outcome.code))
        files.append(summary)
    return files


def tell_actions(outcome: Outcome, environment: Mapping[str, str]) -> str:
    """Under GitHub Actions: append to the job's summary, and return the annotations to print; else "" and nothing."""
    if environment.get("GITHUB_ACTIONS") != "true" or not outcome.verdicts:
        return ""
    append_step_summary(markdown_summary(outcome.verdicts, outcome.code), environment)
    return workflow_commands(outcome.verdicts, outcome.strict)
