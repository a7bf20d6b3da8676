"""A study as claims and the gate ask it: the win rate of a method, over another or over all others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.people import HUMAN_METRICS
from bench.analysis.stats import Interval
from bench.formatting import one_line
from bench.study.findings import Findings, read_findings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VotesOf:
    """The findings of a study, asked by the name of a human metric."""

    findings: Findings

    def win_rate(self, metric: str, method: str, over: str = "") -> tuple[Interval | None, str]:
        """The rate with its 95 % interval over raters and prompts, all raters kept; or None and why there is none."""
        task = self.findings.tasks.get(HUMAN_METRICS[metric])
        where = f"the study {self.findings.folder}"
        if task is None:
            return None, f"{where} has no votes of the task {HUMAN_METRICS[metric]}"
        judged = task.judged
        for name in (method, over) if over else (method,):
            if name not in judged.methods:
                return None, f"{where} has no votes on {name}, only on {', '.join(judged.methods)}"
        if not over:
            return judged.methods[method], ""
        found = judged.rate(method, over)
        return found, "" if found is not None else f"{where} never compared {method} with {over}"

    def run_of(self, method: str) -> str:
        """The id of the run that people saw for a method; "" where it is not on record."""
        return self.findings.runs.get(method, "")

    def pairs_of(self, method: str) -> tuple[str, ...]:
        """The other methods of the study."""
        return tuple(name for name in self.findings.methods if name != method)


def people_of(study: Path | str | None) -> VotesOf | None:
    """The votes of a study's folder; None for None. Errors as of `read_findings`; its notes are logged as warnings."""
    if study is None:
        return None
    found = read_findings(study, metrics=False)
    for note in found.notes:
        logger.warning(f"{study}: {one_line(note)}")
    return VotesOf(found)
