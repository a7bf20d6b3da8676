"""A report opened from file:// in the system's Chromium. Without one, these tests are skipped, and say so."""

from __future__ import annotations

import os
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ATTACK = '<script>alert(1)</script> & "quotes" </script><img src=x onerror=alert(2)>'


def browser_path() -> str | None:
    """The browser to use: CHROMIUM, or the first that is installed."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser that playwright drives."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium on this machine (`apt-get install chromium`, or name one in CHROMIUM)")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page and what it did: messages of its console, errors, dialogs, and requests that leave the machine's files."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def watch(page: Any) -> Opened:
    """Record everything that a page should not do."""
    opened = Opened(page)
    page.on("console", lambda message: opened.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.messages.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (opened.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    local = ("file:", "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(local) else opened.requests.append(request.url))
    return opened


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of four methods and a sweep, with a hostile prompt and a hostile method name."""
    from bench.reporting.report import report

    fakes = runpy.run_path(str(HERE.parent / "data" / "judging" / "fakes.py"))
    results = tmp_path_factory.mktemp("browser")
    common: dict[str, Any] = {
        "prompts": 16,
        "samples": 3,
        "images": True,
        "texts": {1: ATTACK},
        "tags": ("day", "night"),
    }
    for method in ("base", "refl", "imagerefl"):
        fakes["make"](results, method, **common)
    for step in (20, 25):
        name = f"combined[switch_step={step}]"
        fakes["make"](results, name, **common, means=fakes["MEANS"]["combined"])
    fakes["make"](results, "<b>odd</b>", **common, means=fakes["MEANS"]["refl"])
    report(results, results / "report", n_resamples=200)
    return results / "report"


@pytest.fixture(scope="session")
def _shared(chromium: Any, folder: Path) -> Iterator[Opened]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    found = watch(context.new_page())
    found.page.goto((folder / "index.html").as_uri())
    yield found
    context.close()


@pytest.fixture
def opened(_shared: Opened) -> Opened:
    """The report in a window of a desktop, loaded once for all tests; filter and picture as at the beginning."""
    _shared.page.evaluate(
        "() => { document.getElementById('lightbox').close(); const filter = document.getElementById('filter');"
        " filter.value = ''; filter.dispatchEvent(new Event('input')); }"
    )
    _shared.page.wait_for_timeout(200)
    _shared.messages.clear()
    return _shared
