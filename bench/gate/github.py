"""Verdicts for a continuous integration service: a Markdown summary, and annotations of the thresholds file's lines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.in_reward import DAGGER
from bench.analysis.stats import POWER
from bench.errors import UsageError, system_reason
from bench.formatting import escape_markdown, markdown_table
from bench.gate.verdict import STATUSES, Verdict, counted, daggers_told, drops_told, next_step, noise_told, outcome_word

_SIGNS = {"passed": "✅", "failed": "❌", "undecided": "❔", "missing": "⚠️", "not_comparable": "⚠️"}


def markdown_summary(verdicts: Sequence[Verdict], code: int) -> str:
    """The verdicts as a Markdown document: those that need a look first, then the others, with what a gate can see."""
    lines = [f"## Gate {outcome_word(verdicts, code)}", "", f"{counted(verdicts)}.", ""]
    order = {
        status: index for index, status in enumerate(("failed", "missing", "not_comparable", "undecided", "passed"))
    }
    rows = []
    for one in sorted(verdicts, key=lambda verdict: order[verdict.status]):
        sign = f"{_SIGNS[one.status]} {one.status.replace('_', ' ')}"
        rows.append([sign, *map(escape_markdown, (one.who, _rule(one), one.message, _detects(one)))])
    lines += markdown_table(("", "method", "rule", "measured", ""), rows)
    drops, daggers = drops_told(verdicts), daggers_told(verdicts)
    how = "Intervals are over prompts, of 95 %; a verdict is undecided when its interval holds the bound."
    lines += ["", f"{how} {drops} {_HOW}" if drops else how]
    step = next_step(verdicts)
    lines += ["", f"{step}."] if step else []
    lines += ["", escape_markdown(daggers)] if daggers else []
    for sentence in noise_told(verdicts):
        lines += ["", f"{escape_markdown(sentence)}."]
    return "\n".join(lines) + "\n"


_HOW = f"Detects: by how much a drop must pass its bound to be found with {POWER:.0%} probability."


def _rule(verdict: Verdict) -> str:
    return f"{verdict.name} {DAGGER}" if verdict.trained else verdict.name


def _detects(verdict: Verdict) -> str:
    return f"detects {verdict.detectable:.3g}" if verdict.detectable > 0 else ""


def workflow_commands(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """Workflow commands of GitHub Actions, one a line, for every verdict that is not passed; "" for none."""
    lines = []
    for verdict in verdicts:
        if verdict.status == "passed":
            continue
        level = "warning" if verdict.status == "undecided" and not strict else "error"
        title = f"{verdict.status.replace('_', ' ')}: {verdict.who} {verdict.name}"
        location = f"file={_property(verdict.path)},line={verdict.line}," if verdict.path else ""
        lines.append(f"::{level} {location}title={_property(title)}::{_data(verdict.message)}\n")
    return "".join(lines)


def _data(text: str) -> str:
    """Escaped as GitHub's own toolkit escapes the text of a command, so that no message can issue one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def append_step_summary(text: str, environment: Mapping[str, str] = os.environ) -> None:
    """Append to the file that GitHub Actions shows as the job's summary, where there is one."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot append to the job summary {path}: {system_reason(error)}") from None


assert set(_SIGNS) == set(STATUSES)
