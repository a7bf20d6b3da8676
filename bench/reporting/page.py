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
from bench.analysis.table.rows import Table
from bench.analysis.tradeoff import pairs_of
from bench.reporting.cells import DAGGER, header
from bench.reporting.findings import Findings, findings_of
from bench.reporting.payload import embedded_json, payload
from bench.reporting.sections import SECTIONS, Material
from bench.reporting.style import looks
from bench.reporting.thumbnails import Pictures
from bench.reporting.tradeoff import fronts_of, verdicts_on

if TYPE_CHECKING:
    from jinja2 import Environment

    from bench.analysis.tradeoff import Joint

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("page.js", *(script for section in SECTIONS for script in section.scripts), "print.js")  # as they run


def page(
    table: Table,
    joint: Joint,
    values: dict[str, Array],
    images: Pictures,
    picture: bytes = b"",
    findings: Findings | None = None,
) -> str:
    """The page as text; `picture` is pareto.svg, shown where scripts do not run. Without `findings` they are made."""
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
            sections=rendered(Material(table, pairs, images, picture, findings or findings_of(table))),
        )
    )


def rendered(material: Material) -> list[dict[str, Any]]:
    """The sections that have something to say: id, title, number of entries behind the title, and HTML."""
    from markupsafe import Markup

    table, made = material.table, []
    common = {
        "table": table,
        "looks": looks([row.name for row in table.rows]),
        "rows": {row.name: row for row in table.rows},
        "header": lambda facts: header(facts, table),
        "gallery": material.has_images,
        **{"DAGGER": DAGGER, "SURE": SURE, "UNSURE": UNSURE},
    }
    for section in SECTIONS:
        content = section.fill(material)
        if content is not None:
            html = environment().get_template(f"sections/{section.id}.html.j2").render({**common, **content})
            entry = {"id": section.id, "title": section.title, "count": content.get("count"), "html": Markup(html)}
            made.append(entry)
    return made


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
