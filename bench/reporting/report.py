"""The report: tables, plots and a contact sheet of runs that may stand side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.store.object_store import store_url
from bench.store.on_object_stores import on_object_stores

if TYPE_CHECKING:
    from bench.analysis.table.rows import Table
    from bench.analysis.tradeoff import Joint
    from bench.reporting.findings import Findings
    from bench.reporting.named_plot import PlotRequest
    from bench.store.runs import Run
    from bench.store.select import LeftOut, RunSources
    from bench.study.findings import Findings as StudyFindings

logger = logging.getLogger(__name__)

__all__ = ["report"]

_N_RESAMPLES = 2000
_REFERENCE = "base"


@on_object_stores(pictures=True)
def report(
    runs: RunSources | None = None,
    out: Path | str | None = None,
    suite: str | None = None,
    *,
    reference: str = _REFERENCE,
    comparable_only: bool | None = None,
    n_resamples: int = _N_RESAMPLES,
    gallery: int | None = None,
    results: Path | str = Path("results"),
    common: bool = False,
    study: Path | str | None = None,
    verify: bool = False,
    plot: Sequence[str] = (),
    width: str | float | None = None,
    title: bool = True,
    values: str | None = None,
    methods: Sequence[str] = (),
) -> list[Path]:
    """Write index.html, pareto.png, .svg and .pdf, table.md, .csv and .tex, differences.csv, scores.csv, gallery.png.

    And pairs.csv, ranks.csv (three methods and more), methods.csv (over training seeds), robust.csv, profiles.csv.

    Does what `bench report` does. `runs` is a results folder, a suite's or a run's folder, a store, the name of a run
    in `results`, or several of these (None: all of `results`); `suite` keeps one suite. `out` is a folder (None:
    `report` in `results`).
    Runs of several suites that merely lie in a folder are reported each in a folder of its own, `out/<suite>/`; runs
    that are not comparable with the others are left out and named. When they were named one by one, either is a
    NotComparableError with the field that differs, unless `comparable_only` is True (False is strict in both cases).
    `gallery` is the number of prompts whose images the page brings along (None: as many as are usable, 0: none); many
    images lie beside the page in `index_files/`. `common`: only over the values that all runs have, which captions say.
    `study` is the folder of a human preference study: what people say is a section of its suite's page.
    `verify` reads all pictures, also those that look unchanged.
    `plot` names panels, each "x=METRIC,y=METRIC", of one more figure, plot.png, .svg and .pdf: `width` inches wide (or
    "84mm", ...), with or without its `title`, of `values` "means" or "paired" (None: paired differences to the
    reference where the noise is known to be shared), of these `methods` with all their settings (none: all).
    The files are written to a new folder, which takes the place of `out` when it is whole. Returns them. UsageError:
    nothing to report, or `out` cannot be written, or holds something that no report made.

    >>> import bench
    >>> "table.md" in [path.name for path in bench.report(results=RESULTS, out=OUT, gallery=0)]
    True
    """
    from bench.analysis.comparable import require_comparable
    from bench.analysis.opened import open_runs
    from bench.reporting.named_plot import plot_request
    from bench.reporting.output_folder import check_folder
    from bench.store.pictures import verifying

    if out is not None and store_url(out) is not None:
        raise UsageError("a report is written to a folder of this machine: pass --out DIR")
    out = Path(results) / "report" if out is None else Path(out)
    request = plot_request(plot, width, title, values, methods)
    with verifying(verify):
        kept = None if runs is None else suite
        opened, unfinished, named = open_runs(results if runs is None else runs, results, kept)
    suites = _suites(opened, suite, reference)
    subset = not named if comparable_only is None else comparable_only
    if named and not subset and len(suites) > 1:
        require_comparable(opened)  # they were meant to stand side by side: the error names the suites
    folders = {name: out / name if len(suites) > 1 else out for name in suites}
    for folder in folders.values():
        check_folder(folder)  # before the work
    people = _people(study, suites, results)
    written: list[Path] = []
    for name, folder in folders.items():
        members = [run for run in opened if run.suite == name]
        absent = [omitted for omitted in unfinished if omitted.suite == name]
        table, larger = _table(members, absent, subset, (reference, n_resamples, common))
        asked = people if people is None or people.suite in ("", name) else None
        written += write(table, folder, gallery, larger, asked, request)
    return written


def _people(study: Path | str | None, suites: Sequence[str], results: Path | str) -> StudyFindings | None:
    """What a study found; UsageError where it is of another suite than all that are reported."""
    if study is None:
        return None
    from bench.errors import UsageError
    from bench.study.findings import read_findings

    found = read_findings(study, results)
    if found.suite and found.suite not in suites:
        raise UsageError(f"the study {study} is of the suite {found.suite}, but the report is of {', '.join(suites)}")
    return found


def _suites(runs: Sequence[Run], suite: str | None, reference: str) -> list[str]:
    """The suites to report. Raises UsageError for one, or a reference, that no run has."""
    from bench.errors import unknown

    suites = sorted({run.suite for run in runs})
    if suite is not None and suite not in suites:
        raise unknown("suite", suite, suites)
    if reference != _REFERENCE and all(run.method != reference for run in runs):
        raise unknown("method", reference, {run.method for run in runs})
    return suites if suite is None else [suite]


def _table(
    runs: Sequence[Run], unfinished: Sequence[LeftOut], subset: bool, how: tuple[str, int, bool]
) -> tuple[Table, Run | None]:
    """The table, and the reference on a larger prompt set where there is one among the runs that are left out."""
    from bench.analysis.comparable import largest_comparable, require_comparable
    from bench.analysis.table.build import build
    from bench.analysis.table.robust_rows import larger_reference
    from bench.formatting import one_line

    left_out: list[LeftOut] = []
    everything = runs
    if subset:
        runs, left_out = largest_comparable(runs)
    require_comparable(runs)
    left_out = [*left_out, *unfinished]
    for omitted in left_out:
        logger.warning(one_line(f"excluded from the report: {omitted.run} ({omitted.why})"))
    larger = larger_reference(runs, [run for run in everything if run not in runs], how[0])
    return build(runs, left_out, *how), larger


def write(
    table: Table,
    out: Path,
    gallery: int | None = None,
    larger: Run | None = None,
    people: StudyFindings | None = None,
    plot: PlotRequest | None = None,
) -> list[Path]:
    """Write all files of one table into a folder, which is swapped when all are there; returns their paths.

    `larger`: the reference on a larger prompt set, by which means are narrowed; `people`: what a study found;
    `plot`: one more figure.
    """
    from bench.analysis.tradeoff import joint_bootstrap
    from bench.reporting.findings import findings_of, found_files
    from bench.reporting.image_folder import replace_folder
    from bench.reporting.latex import latex
    from bench.reporting.named_plot import plot_files
    from bench.reporting.output_folder import fresh_folder
    from bench.reporting.tables import differences_csv, markdown, means_csv, scores_csv
    from bench.reporting.thumbnails import FOLDER
    from bench.store.atomic import atomic_write

    drawn = plot_files(table, plot)  # what it asks for in vain is said before the work
    findings = findings_of(table, larger)
    joint = joint_bootstrap([row.run for row in table.rows], [row.name for row in table.rows], table.n_resamples)
    contents: dict[str, str | bytes] = {
        "table.md": markdown(table, findings),
        "table.csv": means_csv(table),
        "table.tex": latex(table),
        "scores.csv": scores_csv(table),
    }
    if table.differences:
        contents["differences.csv"] = differences_csv(table)
    contents.update(found_files(table, findings))
    contents.update({**_pictures(table), **drawn})
    found = (findings, people)
    contents["index.html"], beside = _page(table, joint, out, gallery, (contents["pareto.svg"], *found))
    with fresh_folder(out) as fresh:
        replace_folder(fresh / FOLDER, beside)
        for name, content in contents.items():
            atomic_write(fresh / name, content)
    return [out / name for name in contents]


def _page(
    table: Table,
    joint: Joint,
    out: Path,
    gallery: int | None,
    more: tuple[str | bytes, Findings, StudyFindings | None],
) -> tuple[str, dict[str, bytes | Path]]:
    """index.html and the files that lie beside it."""
    from bench.analysis.table.arrays import metric_values, most_changed
    from bench.reporting.page import page
    from bench.reporting.thumbnails import pictures

    values = {facts.name: metric_values(table, facts) for facts in table.metrics if facts.kind != "set"}
    images = pictures(table, out, most_changed(table, values), gallery)
    picture, findings, people = more
    still = picture if isinstance(picture, bytes) else picture.encode()
    return page(table, joint, values, images, still, findings, people), images.files


def _pictures(table: Table) -> dict[str, bytes]:
    import warnings

    from bench.reporting.gallery import gallery_figure
    from bench.reporting.plots import pareto_figure
    from bench.reporting.style import drawn

    pictures: dict[str, bytes] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # prompts in any script
        plot = pareto_figure(table)
        pictures |= {f"pareto.{ending}": drawn(plot, ending) for ending in ("png", "svg", "pdf")}
        sheet = gallery_figure(table)
        if sheet is not None:
            pictures["gallery.png"] = drawn(sheet, "png")
    return pictures
