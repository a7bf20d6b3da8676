"""A row makes a section: its place, its title in the navigation, its text, and nothing where it has nothing to say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment, FileSystemLoader

from bench.analysis.table.build import build
from bench.analysis.tradeoff import pairs_of
from bench.reporting import page as module
from bench.reporting.page import ASSETS, SCRIPTS, rendered
from bench.reporting.sections import SECTIONS, Material, Section
from bench.reporting.thumbnails import Pictures
from bench.store.select import open_runs

ROOT = Path(__file__).parents[4]
make = runpy.run_path(str(ROOT / "tests" / "data" / "judging" / "fakes.py"))["make"]


@pytest.fixture
def material(tmp_path: Path) -> Material:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=4, samples=2)
    runs, _, _ = open_runs(tmp_path)
    return Material(build(runs, n_resamples=50), pairs_of(runs), Pictures({"mode": "none"}))


def test_every_row_has_its_template_and_every_template_its_row() -> None:
    ids = [section.id for section in SECTIONS]
    assert len(set(ids)) == len(ids)
    assert {path.name.removesuffix(".html.j2") for path in (ASSETS / "sections").iterdir()} == set(ids)
    for section in SECTIONS:
        text = (ASSETS / "sections" / f"{section.id}.html.j2").read_text(encoding="utf-8")
        assert re.findall(r'<section id="([\w-]+)"', text) == [section.id]
    assert (SCRIPTS[0], SCRIPTS[-1]) == ("page.js", "print.js")


def test_a_section_with_nothing_to_say_is_left_out_with_its_link(material: Material) -> None:
    made = rendered(material)
    ids = [entry["id"] for entry in made]
    assert ids == [section.id for section in SECTIONS if section.id in ids]
    # no images, no timings, no tags, two methods of one checkpoint each, no study, no recorded norms, and nothing found
    # beside the tables
    missing = {"gallery", "cost", "seeds", "pairs", "robust", "people", "tags", "norms"}
    assert {section.id for section in SECTIONS} - set(ids) == missing
    assert made[-1]["count"] == len(material.table.notes) > 0


def test_a_row_and_a_template_are_a_section(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '<section id="claims">{{ said }} of {{ table.title }}</section>'
    environment = Environment(autoescape=True, loader=DictLoader({"sections/claims.html.j2": text}))
    monkeypatch.setattr(module, "environment", lambda: environment)
    row = Section("claims", "Claims", lambda one: {"said": f"<b>{len(one.table.rows)}</b> methods", "count": 2})
    monkeypatch.setattr(module, "SECTIONS", (row, Section("empty", "Empty", lambda one: None)))
    (made,) = rendered(material)
    assert (made["title"], made["count"]) == ("Claims", 2)
    assert made["html"] == f'<section id="claims">&lt;b&gt;2&lt;/b&gt; methods of {material.table.title}</section>'


def test_templates_say_nothing_that_is_not_given() -> None:
    environment = Environment(autoescape=True, loader=FileSystemLoader(ASSETS))
    for name in environment.list_templates(filter_func=lambda name: name.endswith(".j2")):
        environment.get_template(name)  # compiles
