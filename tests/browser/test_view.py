"""The view in the address, filters, orders, downloads and the slider."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.table.build import build
from bench.store.select import open_runs

ROWS = "(rows) => rows.filter((row) => row.offsetParent !== null).map((row) => row.dataset.method)"


@pytest.fixture
def visit(chromium: Any, folder: Path) -> Iterator[Any]:
    """A function that opens the report at an address in a window of its own, and records what goes wrong."""
    contexts = []

    def visit(fragment: str = "") -> Any:
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"error on the page: {error}"))
        page.goto((folder / "index.html").as_uri() + fragment)
        page.wait_for_selector("#pareto.js-plotly-plot .xtitle")
        return page

    yield visit
    for context in contexts:
        context.close()


def downloaded(page: Any, button: Any) -> list[dict[str, str]]:
    with page.expect_download() as started:
        button.click()
    return list(csv.DictReader(io.StringIO(Path(started.value.path()).read_text(encoding="utf-8"))))


def test_a_view_is_written_into_the_address_and_read_from_it(visit: Any) -> None:
    page = visit()
    assert "?" not in page.evaluate("location.hash")  # the report's own view needs no words
    page.select_option("#axis-x", label="DreamSim diversity (shapes) ↑")
    page.select_option("#axis-mode", value="values")
    page.locator("#tradeoff details summary").click()
    page.locator("#chosen label", has_text="imagerefl").locator("input").uncheck()
    address = page.evaluate("location.hash")
    assert "x=dreamsim" in address
    assert "values=means" in address

    again = visit(address)
    assert again.locator("#axis-x option:checked").inner_text() == "DreamSim diversity (shapes) ↑"
    assert again.input_value("#axis-mode") == "values"
    names = again.evaluate("document.getElementById('pareto').data.filter((t) => t.hovertext).map((t) => t.name)")
    assert len(names) == 5
    assert "imagerefl" not in names
    assert "imagerefl" not in again.eval_on_selector_all("#table tbody tr", ROWS)
    assert "imagerefl" not in again.eval_on_selector_all("#differences tbody tr", ROWS)
    assert "Hidden here and in the tables of methods: imagerefl" in again.inner_text("#front")
    assert not again.is_visible("#state-told")
    again.click("nav.sections a[href='#table']")
    again.wait_for_timeout(300)
    assert again.evaluate("location.hash").startswith("#table?")  # the view stays with the reader


def test_what_an_address_asks_for_in_vain_is_said(visit: Any) -> None:
    page = visit("#tradeoff?x=nope&method=base&method=gone&colour=red")
    told = page.inner_text("#state-told")
    assert all(part in told for part in ("x=nope", "method=gone", "colour=red"))
    assert page.locator("#axis-x option:checked").inner_text() == "LPIPS diversity (shapes) ↑"
    assert page.eval_on_selector_all("#table tbody tr", ROWS) == ["base"]


def test_a_table_is_sorted_and_taken_along_as_it_is_shown(visit: Any, folder: Path) -> None:
    page = visit("#differences?method=refl&method=imagerefl&method=base")
    page.locator("#differences th[data-metric='lpips'] .sort").click()
    rows = downloaded(page, page.locator("#differences .table-bar button"))
    found = {
        name: next(one.interval for one in differences if one.facts.name == "lpips")
        for name, differences in build(open_runs(folder.parent)[0], n_resamples=50).differences.items()
    }
    order = sorted(("refl", "imagerefl"), key=lambda name: -found[name].mean)
    assert [row["Method"] for row in rows] == order
    for row in rows:
        one = found[row["Method"]]
        title = "LPIPS diversity (shapes) ↑"
        assert [float(row[title + end]) for end in ("", " low", " high")] == pytest.approx(
            [one.mean, one.low, one.high], rel=1e-6
        )
    address = page.evaluate("location.hash")
    assert "sort.differences=" in address
    assert visit(address).eval_on_selector_all("#differences tbody tr", ROWS) == order


def test_the_scores_are_filtered_and_taken_along(visit: Any, folder: Path) -> None:
    page = visit()
    page.select_option("#scores-method", label="base")
    page.select_option("#scores-tag", label="night")
    page.select_option("#scores-metric", label="PickScore (shapes)")
    page.fill("#scores-least", "19.9")
    page.wait_for_timeout(300)
    rows = downloaded(page, page.locator("#scores-csv"))
    (run,) = (run for run in open_runs(folder.parent)[0] if run.method == "base")
    scores = run.rows("pickscore")
    night = {prompt for prompt, tags in run.tags.items() if "night" in tags}
    kept = scores[scores["prompt_id"].isin(night) & (scores["value"] >= 19.9)]
    assert 0 < len(kept) < len(scores)
    assert {(row["prompt_id"], int(row["sample"])) for row in rows} == set(
        zip(kept["prompt_id"], kept["sample"], strict=True)
    )
    assert sorted(float(row["pickscore"]) for row in rows) == pytest.approx(sorted(kept["value"]), rel=1e-6)
    assert f"{len(kept)} of 288 images" in page.inner_text("#scores-found")
    address = page.evaluate("location.hash")
    again = visit(address)
    assert f"{len(kept)} of 288 images" in again.inner_text("#scores-found")
    # By its key: what the gallery above loads may move the table between the two halves of a click.
    again.locator("#scores-table thead .sort", has_text="PickScore").press("Enter")
    again.wait_for_selector("#scores-table th[aria-sort='descending']")
    shown = again.eval_on_selector_all(
        "#scores-table tbody tr", "(rows) => rows.map((row) => row.cells[5].textContent)"
    )
    values = [float(text) for text in shown]
    assert values == sorted(values, reverse=True)


def test_there_is_a_table_per_tag(visit: Any) -> None:
    page = visit()
    assert page.locator("#tags details").count() == 2
    assert page.locator("#tags details[open] tbody tr").count() == 6
    page.locator("#tags summary", has_text="night").click()
    assert page.locator("#tags table:visible").count() == 2


def test_a_filter_of_rows_and_a_text_for_a_spreadsheet(visit: Any) -> None:
    page = visit()
    found = page.evaluate(
        "(() => { const made = []; const old = URL.createObjectURL;"
        " URL.createObjectURL = (blob) => { made.push(blob); return old(blob); };"
        " report.download('x', [['=1+1', '-2', -2, NaN, 'a,b', null]]); return made[0].text(); })()"
    )
    assert found == "'=1+1,'-2,-2,,\"a,b\",\n"
    assert page.locator("#table .table-bar input").count() == 0  # six rows need no search


def test_two_pictures_under_a_slider(visit: Any) -> None:
    page = visit("#gallery?gallery.order=list")
    page.locator("#cards .prompt").first.locator("button.tile").first.click()
    assert not page.is_visible("#lb-second")
    page.select_option("#lb-other", label="refl")
    assert page.is_visible("#lb-second")
    assert "Left: base. Right: refl" in page.inner_text("#lb-sides")
    sources = page.evaluate("[document.getElementById('lb-image').src, document.getElementById('lb-second').src]")
    assert sources[0] != sources[1]
    page.evaluate(
        "() => { const s = document.getElementById('lb-slide'); s.value = 20; s.dispatchEvent(new Event('input')); }"
    )
    assert page.evaluate("getComputedStyle(document.getElementById('lb-second')).clipPath") == "inset(0px 0px 0px 20%)"
    page.focus("#lb-slide")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#lb-slide") == "21"  # the key is the slider's, not the gallery's
    page.select_option("#lb-other", label="base")
    assert not page.is_visible("#lb-second")
    assert page.inner_text("#lb-sides") == "This is that method's picture itself."


def test_what_is_folded_is_printed(visit: Any) -> None:
    page = visit()
    closed = "document.querySelectorAll('details.block:not([open]), #summary details:not([open])').length"
    before = page.evaluate(closed)
    assert before >= 2  # a tag, and how sure it is
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(closed) == 0
    page.emulate_media(media="print")
    assert page.is_visible("#tags table >> nth=1")
    assert page.is_visible("text=Not printed: the page itself has all of them.")
    assert not page.is_visible("#scores-table")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(closed) == before
