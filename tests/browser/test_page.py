"""The page in a browser: silent, offline, and every control does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ATTACK = '<script>alert(1)</script> & "quotes" </script><img src=x onerror=alert(2)>'


def until(page: Any, condition: str) -> None:
    """Wait until an expression is true. (`wait_for_function` evaluates text in the page, which its policy forbids.)"""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {condition}")


def scrolled(page: Any) -> None:
    """To the end and back, so that everything lazy is drawn."""
    for section in ("distributions", "gallery", "notes", "tradeoff"):
        page.evaluate(f"document.getElementById('{section}').scrollIntoView({{behavior: 'instant'}})")
        page.wait_for_timeout(150)
    page.wait_for_selector("#distribution.js-plotly-plot .boxlayer", state="attached")


def test_no_message_no_request_and_markup_is_text(opened: Any) -> None:
    page = opened.page
    scrolled(page)
    assert opened.messages == []
    assert opened.requests == []
    assert (
        page.locator(f"#cards h3:text-is({ATTACK!r})").count()
        or page.locator("#cards h3", has_text="<script>alert(1)</script>").count() == 1
    )
    assert page.locator("#table th.name", has_text="<b>odd</b>").count() == 1
    assert page.locator("#cards img[src='x'], th b").count() == 0


def test_a_script_of_someone_else_would_not_run(opened: Any) -> None:
    opened.page.evaluate(
        "() => { const made = document.createElement('script'); made.textContent = 'window.owned = 1';"
        " document.body.append(made); }"
    )
    assert opened.page.evaluate("window.owned") is None
    assert any("Content Security Policy" in message for message in opened.messages)


def test_the_plot_has_all_methods_a_front_and_a_curve(opened: Any) -> None:
    plot = "document.getElementById('pareto')"
    names = opened.page.evaluate(f"{plot}.data.filter((trace) => trace.hovertext).map((trace) => trace.name)")
    assert len(names) == 6
    assert "&lt;b&gt;odd&lt;/b&gt;" in names
    dashes = opened.page.evaluate(f"{plot}.data.filter((trace) => trace.line && trace.line.dash === 'dash').length")
    assert dashes == 1
    lines = opened.page.evaluate(
        f"{plot}.data.filter((trace) => trace.mode === 'lines' && !trace.fill && trace.line.dash !== 'dash')"
        ".map((trace) => trace.x.length)"
    )
    assert lines == [2]
    assert "On the front" in opened.page.inner_text("#front")


def test_the_first_screen_says_what_was_found_and_shows_the_whole_plot(chromium: Any, folder: Path) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#pareto.js-plotly-plot .xtitle")
    assert page.locator("#summary .said:visible > li").count() == 3
    assert "surely gains" in page.inner_text("#summary")
    assert page.locator("#pareto .xtitle").bounding_box()["y"] < 880
    assert page.locator("#pareto .xtick").last.bounding_box()["y"] < 880
    assert page.input_value("#axis-mode") == "differences"  # the noise is shared
    assert "difference to base" in page.text_content("#pareto .xtitle")
    context.close()


CROSSED = """() => {
  const boxes = [...document.querySelectorAll('#pareto .annotation-text')].map((one) => one.getBoundingClientRect());
  const bars = [...document.querySelectorAll('#pareto .errorbar path')].map((one) => one.getBoundingClientRect());
  const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
  const hit = (a, b) => shared(a, b, 'left', 'right') > 1 && shared(a, b, 'top', 'bottom') > 1;
  return [boxes.length, bars.length, boxes.filter((box) => bars.some((bar) => hit(box, bar))).length];
}"""


@pytest.mark.parametrize("mode", ["differences", "values"])
def test_no_name_is_crossed_by_an_error_bar(chromium: Any, folder: Path, mode: str) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#pareto.js-plotly-plot .xtitle")
    page.select_option("#axis-mode", value=mode)
    names, bars, crossed = page.evaluate(CROSSED)
    assert names + page.locator("#pareto .legendtext").count() >= 6  # beside its point, or in the legend
    assert bars >= 10
    assert crossed == 0
    context.close()


def test_axes_can_be_chosen(opened: Any) -> None:
    page = opened.page
    page.select_option("#axis-y", label="PickScore (shapes) ↑")
    page.select_option("#axis-x", label="FID (shapes) ↓")
    title, backwards = page.evaluate(
        "(() => { const l = document.getElementById('pareto').layout;"
        " return [l.yaxis.title.text, l.xaxis.range[0] > l.xaxis.range[1]]; })()"
    )
    assert "PickScore (shapes) ↑<br>training reward · difference to base" in title
    assert backwards
    open_symbols = page.evaluate(
        "document.getElementById('pareto').data.filter((t) => t.marker && t.marker.symbol.endsWith('-open')).length"
    )
    assert open_symbols == 5
    page.locator("#multiples button", has_text="DreamSim").click()
    assert page.locator("#axis-x option:checked").inner_text() == "DreamSim diversity (shapes) ↑"
    page.select_option("#axis-mode", value="differences")
    assert page.evaluate("document.getElementById('pareto').data.find((t) => t.name === 'base').x[0]") == 0


def test_hover_tells_the_numbers(opened: Any) -> None:
    opened.page.select_option("#axis-mode", value="values")
    opened.page.select_option("#axis-x", label="LPIPS diversity (shapes) ↑")
    text = opened.page.evaluate("document.getElementById('pareto').data.find((t) => t.name === 'base').hovertext[0]")
    assert "LPIPS diversity (shapes) ↑" in text
    assert "[" in text
    assert "on the front of the means: " in text


def test_the_filter_keeps_the_prompts_with_all_words(opened: Any) -> None:
    page = opened.page
    page.fill("#filter", "script alert")
    until(page, "document.querySelectorAll('#cards .prompt').length === 1")
    assert page.text_content("#cards .prompt h3") == ATTACK
    page.fill("#filter", "no such words")
    until(page, "document.querySelectorAll('#cards .prompt').length === 0")
    assert page.inner_text("#found") == "No prompt has all of these words."
    page.fill("#filter", "p0003")
    until(page, "document.querySelectorAll('#cards .prompt').length === 1")


def test_the_order_is_by_the_largest_paired_difference(opened: Any) -> None:
    page = opened.page
    page.select_option("#sort-metric", label="LPIPS diversity (shapes) ↑")
    page.select_option("#sort-a", label="refl")
    shown = page.eval_on_selector_all("#cards .meta b", "(all) => all.map((one) => one.textContent)")
    differences = [abs(float(text.replace("\N{MINUS SIGN}", "-"))) for text in shown]
    assert len(differences) >= 12
    assert differences == sorted(differences, reverse=True)
    page.select_option("#sort-order", value="list")
    first = page.get_attribute("#cards .prompt", "data-prompt")
    assert first == "0"


def test_the_lightbox_opens_moves_and_closes(opened: Any) -> None:
    page = opened.page
    page.select_option("#sort-order", value="list")
    tile = page.locator("#cards .prompt").first.locator("button.tile").first
    tile.click()
    assert page.evaluate("document.getElementById('lightbox').open")
    until(page, "document.getElementById('lb-image').naturalWidth === 64")
    assert page.inner_text("#lb-caption").startswith("base · p0000 · sample 0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    until(page, "document.getElementById('lb-caption').textContent.startsWith('refl · p0000 · sample 1')")
    rows = page.locator("#lb-scores tbody tr")
    assert rows.count() == 7  # every image and group metric
    assert "PickScore (shapes) ↑" in rows.nth(2).inner_text()
    page.click("#lb-left")
    until(page, "document.getElementById('lb-caption').textContent.includes('sample 0')")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('lightbox').open")
    assert page.evaluate("document.activeElement.classList.contains('tile')")
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('lightbox').open")
    assert opened.messages == []


def test_columns_sort_by_a_click(opened: Any) -> None:
    page = opened.page
    names = "(rows) => rows.map((row) => row.cells[0].textContent.trim())"
    before = page.eval_on_selector_all("#table tbody tr", names)
    button = page.locator("#table thead .sort").nth(1)  # the first is that of the names
    values = "(rows) => rows.map((row) => Number(row.cells[1].dataset.value))"
    button.click()
    found = page.eval_on_selector_all("#table tbody tr", values)
    assert found == sorted(found, reverse=True)
    button.click()
    assert page.eval_on_selector_all("#table tbody tr", values) == sorted(found)
    button.click()
    assert page.eval_on_selector_all("#table tbody tr", names) == before


def test_the_theme_follows_the_system_and_the_button(chromium: Any, folder: Path) -> None:
    context = chromium.new_context(color_scheme="dark", viewport={"width": 900, "height": 700})
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("#theme")
    assert page.inner_text("#theme") == "Light"
    light = page.evaluate(paper)
    assert dark != light == "rgb(255, 255, 255)"
    page.click("#theme")
    assert page.evaluate(paper) == dark
    context.close()


@pytest.mark.parametrize("width", [390, 768])
def test_on_a_phone_only_tables_scroll_sideways(chromium: Any, folder: Path, width: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 844}, device_scale_factor=2)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    scrolled(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.querySelector('#table .scroll').scrollWidth") > width
    context.close()


def test_print_is_light_and_has_every_section(opened: Any) -> None:
    page = opened.page
    page.click("#theme")
    page.click("#theme")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.is_visible("nav.sections")
    assert page.is_visible("#protocol")
    assert page.locator("#gallery .prompt:visible").count() == 4
    assert page.is_visible("text=Printed are the first four prompts at most")
    assert not page.is_visible("#found")  # it counts the prompts of the screen
    made = page.pdf(format="A4", prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", made))
    assert 4 <= pages <= 20
    page.emulate_media(media="screen")
    assert page.is_visible("#found")
    assert not page.is_visible("text=Printed are the first four prompts at most")
    assert opened.messages == []


def test_without_scripts_the_tables_and_the_still_picture_are_there(chromium: Any, folder: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    assert page.locator("#table tbody tr").count() == 6
    assert page.is_visible("img.still")
    context.close()
