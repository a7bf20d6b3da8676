"""The sections of the page, in order. One more is a row in SECTIONS, and its text in `assets/sections/<id>.html.j2`.

A template may use what its `fill` gives, and what all have: `table`, `rows` and `looks` by method, `header(facts)`,
`gallery` (whether there is one), DAGGER, SURE and UNSURE, and the macros of `assets/macros.html.j2`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.stats import Interval
from bench.analysis.table.costs import cost_columns
from bench.analysis.table.rows import Best, Row, Table
from bench.analysis.tradeoff import Pairs
from bench.reporting.all_pairs import pairs_section
from bench.reporting.cells import CellText, difference_cells, mean_cells, number
from bench.reporting.findings import Findings
from bench.reporting.headline import headline_section
from bench.reporting.norms import norms_section
from bench.reporting.protocol import environments, metric_card, origins, protocol
from bench.reporting.robust import robust_section
from bench.reporting.seeds import seeds_section
from bench.reporting.study_section import section
from bench.reporting.tags import tags_section
from bench.reporting.thumbnails import Pictures
from bench.reporting.tradeoff import grids
from bench.study.findings import Findings as StudyFindings


@dataclass(frozen=True, slots=True)
class Material:
    """What a section may draw on. `picture` is pareto.svg; `people` is what a study found, if one is given."""

    table: Table
    pairs: Pairs
    images: Pictures
    picture: bytes = b""
    findings: Findings | None = None
    people: StudyFindings | None = None

    @property
    def has_images(self) -> bool:
        """Whether there is a gallery."""
        return self.images.info["mode"] != "none"


Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its id, its title in the navigation, what its template is filled with, and the scripts that it needs.

    `fill` gives None where there is nothing to say: then the section and its link are left out. An entry "count" in it
    is shown behind the title. Scripts run in the order of the sections; print.js, which fits plots to paper, is last.
    """

    id: str
    title: str
    fill: Callable[[Material], Content | None]
    scripts: tuple[str, ...] = ()


def _summary(material: Material) -> Content:
    return headline_section(material.table, material.findings)


def _tradeoff(material: Material) -> Content:
    return {"fallback": base64.b64encode(material.picture).decode(), "differences": bool(material.table.differences)}


def _table(material: Material) -> Content:
    return {"means": means(material.table)}


def _differences(material: Material) -> Content | None:
    lines = differences(material.table)
    return {"differences": lines} if lines else None


def _seeds(material: Material) -> Content | None:
    return seeds_section(material.table)


def _pairs(material: Material) -> Content | None:
    return pairs_section(material.findings.several) if material.findings else None


def _tags(material: Material) -> Content | None:
    return tags_section(material.table, material.findings.tags) if material.findings else None


def _robust(material: Material) -> Content | None:
    return robust_section(material.table, material.findings.robust) if material.findings else None


def _price(material: Material) -> Content | None:
    found = grids(material.pairs, material.table)
    return {"grids": found} if found else None


def _distributions(material: Material) -> Content:
    return {}


def _gallery(material: Material) -> Content | None:
    return {} if material.has_images else None


def _people(material: Material) -> Content | None:
    return None if material.people is None else section(material.people, material.table)


def _cost(material: Material) -> Content | None:
    found = costs(material.table)
    return {"costs": found} if found["columns"] else None


def _norms(material: Material) -> Content | None:
    found = norms_section(material.table)
    return {"norms": found} if found else None


def _metrics(material: Material) -> Content:
    return {"cards": [metric_card(material.table, facts) for facts in material.table.metrics]}


def _protocol(material: Material) -> Content:
    table = material.table
    return {"protocol": protocol(table), "origins": origins(table), "environments": environments(table)}


def _notes(material: Material) -> Content | None:
    return {"count": len(material.table.notes)} if material.table.notes else None


SECTIONS = (
    Section("summary", "Summary", _summary, scripts=("state.js", "tables.js")),
    Section("tradeoff", "Trade-off", _tradeoff, scripts=("names.js", "plots.js")),
    Section("table", "Table", _table),
    Section("differences", "Differences", _differences),
    Section("seeds", "Training seeds", _seeds),
    Section("pairs", "All pairs", _pairs),
    Section("tags", "By tag", _tags),
    Section("trade", "Price", _price),
    Section("robust", "Beside the means", _robust),
    Section("distributions", "Per prompt", _distributions, scripts=("distributions.js",)),
    Section("scores", "Scores", _distributions, scripts=("scores.js",)),
    Section("gallery", "Gallery", _gallery, scripts=("gallery.js",)),
    Section("people", "People", _people),
    Section("cost", "Cost", _cost),
    Section("norms", "Prediction norms", _norms),
    Section("metrics", "Metrics", _metrics),
    Section("protocol", "Protocol", _protocol),
    Section("notes", "Notes", _notes),
)


def means(table: Table) -> list[dict[str, Any]]:
    """Rows of the first table: the method and its cells with how they compare to the best of their column."""
    rows = []
    for row, cells in zip(table.rows, mean_cells(table), strict=True):
        columns = [
            {"cell": cell, "rank": _rank(table.best.get(facts.name), row), "interval": row.cells.get(facts.name)}
            for facts, cell in zip(table.metrics, cells, strict=True)
        ]
        rows.append({"row": row, "columns": columns})
    return rows


def _rank(best: Best | None, row: Row) -> str:
    """ "best": significantly better than all others; "level": the best one or not told apart from it; else ""."""
    if best is None or (row.name != best.name and row.name not in best.tied):
        return ""
    return "best" if best.significant else "level"


def differences(table: Table) -> list[tuple[Row, list[tuple[CellText, Interval | None]]]]:
    """Rows of the second table: differences against the reference, as they are printed and as numbers."""
    if not table.differences:
        return []
    rows = {row.name: row for row in table.rows}
    lines = []
    for name, cells in zip(*difference_cells(table), strict=True):
        found = {one.facts.name: one.interval for one in table.differences[name]}
        known = [found.get(facts.name) for facts in table.metrics]
        lines.append((rows[name], list(zip(cells, known, strict=True))))
    return lines


def costs(table: Table) -> dict[str, Any]:
    """The table of costs, as text."""
    columns = cost_columns(table)
    nan = float("nan")
    lines = [
        [number(nan if (value := column.values[i]) is None else value, column.digits) for column in columns]
        for i in range(len(table.rows))
    ]
    return {"columns": columns, "lines": lines}
