"""`bench study report`: what the votes of a study say, as text, Markdown, JSON and a plot."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from bench.formatting import one_line
from bench.reporting.study_rows import finding_rows
from bench.reporting.study_tables import markdown, text
from bench.store.atomic import atomic_write, make_folder
from bench.study.findings import Findings, read_findings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyReport:
    """What the study found, and the files that were written."""

    findings: Findings
    written: tuple[Path, ...]

    @property
    def text(self) -> str:
        """What `bench study report` prints."""
        return text(self.findings)


def study_report(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    results: Path | str = Path("results"),
    database: str | None = None,
) -> StudyReport:
    """Judge the votes of a study, and write report.md, report.json and study.png, .svg, .pdf into `out`.

    `out` None: the folder `report` in the study's own. `results` is where its runs are looked for, for the comparison
    of metrics with people, when they are not where the study was made from;
    `database` is where its votes are, if not in the folder. Every note is also logged as a warning.

    MissingError: no study there, no votes yet, or a package is missing. UsageError: rows that are no votes, or votes
    that are only practice, checks and repeats.
    """
    from bench.reporting.study_plot import drawn

    found = read_findings(folder, results, database=database)
    for note in found.notes:
        logger.warning(one_line(note))
    target = Path(folder) / "report" if out is None else Path(out)
    make_folder(target)
    contents: dict[str, str | bytes] = {
        "report.md": markdown(found),
        "report.json": json.dumps(finding_rows(found), indent=1, ensure_ascii=False) + "\n",
        **drawn(found),
    }
    for name, content in contents.items():
        atomic_write(target / name, content)
    return StudyReport(found, tuple(target / name for name in contents))
