"""Makes docs/images/report.png and report-views.png: what a report looks like in the system's Chromium.

python benchmarks/report_pictures.py results/report
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
_GAP = 24


def shot(browser: Any, path: Path, size: tuple[int, int], scheme: str, script: str, click: str = "") -> Image.Image:
    """A picture of the page's window after a script (and a click) has run."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    page.wait_for_timeout(800)
    page.evaluate(script)
    page.wait_for_timeout(800)
    if click:
        page.locator(click).first.click()
        page.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return picture


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of equal height side by side, on grey."""
    width = sum(image.width for image in pictures) + _GAP * (len(pictures) + 1)
    sheet = Image.new("RGB", (width, pictures[0].height + 2 * _GAP), (150, 150, 150))
    left = _GAP
    for image in pictures:
        sheet.paste(image, (left, _GAP))
        left += image.width + _GAP
    return sheet


def show(section: str) -> str:
    """A script that brings a section to the top of the window."""
    return f"document.getElementById('{section}').scrollIntoView({{behavior: 'instant'}})"


def main() -> int:
    """Write both pictures; exit code 4 without a browser."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    page = parser.parse_args().report / "index.html"
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        print("no Chromium: install one, or name it in CHROMIUM", file=sys.stderr)
        return 4
    paired = (
        "const mode = document.getElementById('axis-mode'); mode.value = 'differences';"
        "mode.dispatchEvent(new Event('change')); window.scrollTo(0, 0)"
    )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        plot = shot(browser, page, (1180, 1130), "light", paired)
        dark = shot(browser, page, (1080, 860), "dark", show("table"))
        large = shot(browser, page, (1080, 860), "dark", show("gallery"), "#cards button.tile")
        phone = shot(browser, page, (390, 860), "light", show("gallery"))
        browser.close()
    plot.save(IMAGES / "report.png", optimize=True)
    views = beside([dark, large, phone])
    views = views.resize((views.width * 2 // 3, views.height * 2 // 3), Image.Resampling.LANCZOS)
    views.save(IMAGES / "report-views.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
