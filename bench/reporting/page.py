"""index.html: one file that opens offline, with everything it needs inside. Names and prompts are untrusted.

Three things keep them text: the template escapes everything, the data lie in JSON blocks in which no character can end
the element, and a content security policy lets only the page's own scripts run (by their digest) and nothing load
from a network.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.analysis.differences import SURE, UNSURE
from bench.analysis.table.arrays import Array
from bench.analysis.table.costs import cost_columns
from bench.analysis.table.rows import Best, Row, Table
from bench.analysis.tradeoff import pairs_of
from bench.reporting.cells import DAGGER, CellText, difference_cells, header, mean_cells, number
from bench.reporting.payload import embedded_json, payload
from bench.reporting.sections import environments, metric_card, origins, protocol
from bench.reporting.style import looks
from bench.reporting.thumbnails import Pictures
from bench.reporting.tradeoff import fronts_of, grids, verdicts_on

if TYPE_CHECKING:
    from jinja2 import Environment

    from bench.analysis.tradeoff import Joint

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("page.js", "names.js", "distributions.js", "plots.js", "gallery.js")  # in the order in which they run


def page(table: Table, joint: Joint, values: dict[str, Array], images: Pictures, picture: bytes = b"") -> str:
    """The page as text; `picture` is pareto.svg, shown where scripts do not run."""
    import plotly

    pairs = pairs_of([row.run for row in table.rows], [row.name for row in table.rows])
    fronts = {axes: (front, verdicts_on(pairs, front)) for axes, front in fronts_of(joint, table).items()}
    scripts = [plotly_source(), *(asset(name) for name in SCRIPTS)]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            table=table,
            version=plotly.__version__,
            policy=content_policy(scripts),
            style=asset("page.css"),
            scripts=scripts,
            data=embedded_json(payload(table, fronts, values, images.info)),
            images=embedded_json(images.embedded),
            fallback=base64.b64encode(picture).decode(),
            DAGGER=DAGGER,
            SURE=SURE,
            UNSURE=UNSURE,
            looks=looks([row.name for row in table.rows]),
            rows={row.name: row for row in table.rows},
            means=means(table),
            differences=differences(table),
            grids=grids(pairs, table),
            cards=[metric_card(table, facts) for facts in table.metrics],
            costs=costs(table),
            protocol=protocol(table),
            origins=origins(table),
            environments=environments(table),
            gallery=images.info["mode"] != "none",
            header=lambda facts: header(facts, table),
        )
    )


@cache
def environment() -> Environment:
    """Jinja with escaping always on; an undefined name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """The text of a file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def plotly_source() -> str:
    """plotly.js as the Python package brings it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def content_policy(scripts: list[str]) -> str:
    """The policy: these scripts and no others, styles and pictures of the page, pictures beside it, no network."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob: 'self' file:; base-uri 'none'; form-action 'none'"
    )


def means(table: Table) -> list[dict[str, Any]]:
    """Rows of the first table: the method and its cells with how they compare to the best of their column."""
    rows = []
    for row, cells in zip(table.rows, mean_cells(table), strict=True):
        columns = [
            {"cell": cell, "rank": _rank(table.best.get(facts.name), row), "sort": _sort_value(row, facts.name)}
            for facts, cell in zip(table.metrics, cells, strict=True)
        ]
        rows.append({"row": row, "columns": columns})
    return rows


def _rank(best: Best | None, row: Row) -> str:
    """ "best": significantly better than all others; "level": the best one or not told apart from it; else ""."""
    if best is None or (row.name != best.name and row.name not in best.tied):
        return ""
    return "best" if best.significant else "level"


def _sort_value(row: Row, metric: str) -> str:
    return repr(row.cells[metric].mean) if metric in row.cells else "nan"


def differences(table: Table) -> list[tuple[Row, list[CellText]]]:
    """Rows of the second table: differences against the reference."""
    if not table.differences:
        return []
    rows = {row.name: row for row in table.rows}
    names, cells = difference_cells(table)
    return [(rows[name], line) for name, line in zip(names, cells, strict=True)]


def costs(table: Table) -> dict[str, Any]:
    """The table of costs, as text."""
    columns = cost_columns(table)
    nan = float("nan")
    lines = [
        [number(nan if (value := column.values[i]) is None else value, column.digits) for column in columns]
        for i in range(len(table.rows))
    ]
    return {"columns": columns, "lines": lines}
