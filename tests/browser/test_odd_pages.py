"""Reports of odd results are pages that still work: nothing scored, one method, values missing, pictures beside."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import pytest

import bench.reporting.thumbnails as pictures_module
from bench.reporting.report import report
from bench.store.records import ScoreRow

fakes = runpy.run_path(str(Path(__file__).parent.parent / "data" / "judging" / "fakes.py"))
browser = runpy.run_path(str(Path(__file__).parent / "conftest.py"))
make, card = fakes["make"], fakes["card"]


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.reporting.report._pictures", lambda table: {"pareto.svg": b"<svg/>"})


def visited(chromium: Any, folder: Path) -> Any:
    """The page after everything lazy was drawn; it must have been silent."""
    page = chromium.new_context(viewport={"width": 1000, "height": 800}, offline=True).new_page()
    opened = browser["watch"](page)
    page.goto((folder / "index.html").as_uri())
    page.evaluate("document.getElementById('protocol').scrollIntoView({behavior: 'instant'})")
    page.evaluate("document.getElementById('distributions').scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(400)
    assert opened.messages == []
    assert opened.requests == []
    return page


def test_nothing_was_scored(chromium: Any, tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=2, metrics=())
    report(tmp_path, tmp_path / "out", n_resamples=50)
    page = visited(chromium, tmp_path / "out")
    assert not page.is_visible("#distributions")
    assert page.locator("#table tbody tr").count() == 1


def test_one_method_with_one_sample_and_no_reference(chromium: Any, tmp_path: Path) -> None:
    store = make(tmp_path, "refl", prompts=3, samples=1, metrics=("image_reward", "fid"), images=True)
    store.append_scores("lpips", [ScoreRow(f"p{i:04d}", None, math.nan, "one image") for i in range(3)], card("lpips"))
    report(tmp_path, tmp_path / "out", n_resamples=50)
    page = visited(chromium, tmp_path / "out")
    assert page.evaluate("document.getElementById('axis-mode')") is None
    assert "No method that is shown was scored on both axes" in page.inner_text("#pareto")
    assert "diversity cannot be scored" in page.inner_text("#notes")


def test_values_that_are_missing_in_one_method(chromium: Any, tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=4, samples=2, metrics=("image_reward", "lpips"), images=True)
    make(tmp_path, "refl", prompts=4, samples=2, metrics=("image_reward",))
    report(tmp_path, tmp_path / "out", n_resamples=50)
    page = visited(chromium, tmp_path / "out")
    assert "1 of 2 methods are not shown" in page.inner_text("#front")
    assert page.locator(".tile.none", has_text="no image").count() == 8
    page.locator("#cards button.tile").first.click()
    assert "–" in page.inner_text("#lb-scores")


def test_pictures_beside_the_page_and_when_they_are_gone(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_module, "IN_PAGE_BYTES", 100)
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=4, samples=2, images=True)
    report(tmp_path, tmp_path / "report", n_resamples=50, gallery=2)
    page = visited(chromium, tmp_path / "report")
    page.select_option("#sort-order", value="list")
    page.evaluate("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(400)
    widths = page.eval_on_selector_all("#cards img", "(all) => all.map((one) => one.naturalWidth)")
    assert widths == [64] * 16  # two prompts from the page, the others from the results folder
    page.locator("#cards button.tile").first.click()
    page.wait_for_timeout(200)
    assert page.evaluate("document.getElementById('lb-image').naturalWidth") == 64
    alone = tmp_path / "some" / "where" / "else"
    alone.mkdir(parents=True)
    (alone / "index.html").write_bytes((tmp_path / "report" / "index.html").read_bytes())
    page.goto((alone / "index.html").as_uri())
    page.evaluate("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(400)
    assert page.locator("#cards button.tile").count() == 8  # thumbnails of two prompts travel in the page
    assert page.locator(".tile.none", has_text="image not beside this page").count() == 8


def test_names_without_a_space_and_settings_fit_a_phone(chromium: Any, tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=4, samples=2, images=True)
    make(tmp_path, "x" * 100, prompts=4, samples=2, images=True, means=fakes["MEANS"]["refl"])
    for step in (20, 25):
        name = f"combined[switch_step={step}]"
        make(tmp_path, name, prompts=4, samples=2, images=True, means=fakes["MEANS"]["combined"])
    report(tmp_path, tmp_path / "out", n_resamples=50)
    page = chromium.new_context(viewport={"width": 375, "height": 800}).new_page()
    page.goto((tmp_path / "out" / "index.html").as_uri())
    page.evaluate("document.getElementById('distributions').scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(600)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    lines = page.eval_on_selector_all("#pareto .annotation-text tspan", "(all) => all.map((one) => one.textContent)")
    assert {"combined", "switch_step=20"} <= set(lines)  # the setting below the method
    edges = "(all) => all.map((one) => one.getBoundingClientRect().right)"
    edge = page.evaluate("document.getElementById('pareto').getBoundingClientRect().right")
    assert all(right <= edge for right in page.eval_on_selector_all("#pareto .textpoint text", edges))
    width = "document.querySelector('#distribution .nsewdrag').getBoundingClientRect().width"
    assert page.evaluate(width) > 375 / 3  # names leave room for the boxes


def test_a_table_of_many_metrics_is_seen_whole_on_a_small_desktop(chromium: Any, tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=40, samples=2)
    name = "combined[switch_step=20]"
    make(tmp_path, name, prompts=40, samples=2, means={**fakes["MEANS"]["combined"], "lpips": 0.4121})
    report(tmp_path, tmp_path / "out", n_resamples=100)
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto((tmp_path / "out" / "index.html").as_uri())
    for section in ("table", "differences"):
        right = f"document.querySelector('#{section} td:last-child').getBoundingClientRect().right"
        assert page.evaluate(right) <= 1280
        box = f"document.querySelector('#{section} .scroll')"
        assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
