"""A rater's page in Chromium: keys, clicks, a phone, the dark, closing, two tabs, going back, late pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bench.study
from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.serving import running
from bench.study.sessions import Sessions
from bench.study.store import VoteStore, open_votes
from bench.study.votes import read_votes

pytest.importorskip("starlette", reason="starlette is not installed (extra study)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra study)")
RUNS = Path(__file__).parents[1] / "data" / "v1" / "results" / "runs" / "small"
METHODS = ("base@f968f89e", "refl@ad6b75db", "combined@4de1646c")
READY = "#choose-left:enabled"


@dataclass
class Served:
    """A study under its server, its links, and what pages said that they should not."""

    study: Study
    votes: VoteStore
    keys: Keys
    origin: str
    messages: list[str]

    def link(self, rater: str = "r0001") -> str:
        return f"{self.origin}/r/{self.keys.token(rater)}"

    def open(self, browser: Any, **context: Any) -> Any:
        page = browser.new_context(**context).new_page()
        page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda one: None if one.url.startswith((self.origin, "data:")) else self.messages.append(one.url),
        )
        return page

    def choices(self) -> list[str]:
        return [answer.choice for answer in self.votes.answers()]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    study = bench.study.make(
        [RUNS / name for name in METHODS], tmp_path / "study", task="both", per_rater=6, votes=2, seed=4
    )
    votes, keys = open_votes(study), Keys.of(study.folder, study.plan)
    messages: list[str] = []
    with running(Sessions(study, keys, votes)) as origin:
        yield Served(study, votes, keys, origin, messages)
    votes.close()
    assert messages == []


def begin(page: Any, link: str) -> None:
    page.goto(link)
    assert page.is_disabled("#begin")
    page.check("#agree")
    page.click("#begin")
    page.wait_for_selector(READY)


def after(page: Any, act: Any) -> None:
    """Do something that answers, and wait for the next item."""
    before = page.inner_text("#count")
    act()
    page.wait_for_function("old => document.getElementById('count').innerText !== old", arg=before)
    page.wait_for_selector(READY)


def test_keys_and_clicks_answer_to_the_end(chromium: Any, served: Served) -> None:
    page = served.open(chromium, viewport={"width": 1280, "height": 800})
    begin(page, served.link())
    total = len(served.study.plan["r0001"])
    assert page.inner_text("#count") == f"1 of {total}"
    assert page.is_visible("#practice")
    acts = [
        lambda: page.keyboard.press("ArrowLeft"),
        lambda: page.keyboard.press("ArrowRight"),
        lambda: page.keyboard.press("Space"),
        lambda: page.click("#choose-right"),
        lambda: page.keyboard.press("Space"),  # the button that was clicked last must not take it
        lambda: page.click("#left"),
    ]
    for act in acts:
        after(page, act)
    assert served.choices() == ["left", "right", "tie", "right", "tie", "left"]
    seconds = [answer.seconds for answer in served.votes.answers()]
    assert all(one is not None and 0.2 < one < 60 for one in seconds)
    for _ in range(total - len(acts) - 1):
        after(page, lambda: page.keyboard.press("ArrowLeft"))
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#end:not([hidden])")
    assert page.inner_text("#code") == served.keys.completion("r0001")
    assert len(served.choices()) == total
    page.reload()
    page.wait_for_selector("#end:not([hidden])")


def test_a_key_that_is_held_or_pressed_twice_answers_once(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    begin(page, served.link())
    page.evaluate(
        "for (let i = 0; i < 20; i++) document.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowLeft', repeat: i > 0, bubbles: true}))"
    )
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(250)
    assert served.choices() == ["left"]
    page.wait_for_selector(READY)
    page.keyboard.press("Control+ArrowLeft")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(200)
    assert served.choices() == ["left"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_item_without_scrolling_sideways(chromium: Any, served: Served, scheme: str) -> None:
    page = served.open(
        chromium, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme=scheme
    )
    begin(page, served.link())
    for _ in range(3):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for name in ("#left", "#right", "#choose-left", "#choose-tie", "#choose-right"):
            box = page.locator(name).bounding_box()
            assert box["y"] + box["height"] <= 844, name
            assert box["height"] >= 44, "large enough for a finger"
        after(page, lambda: page.tap("#choose-left"))
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") == (scheme == "light")


def test_closing_and_coming_back_goes_on(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    begin(page, served.link())
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    page.context.close()
    page = served.open(chromium)
    page.goto(served.link())
    page.wait_for_selector(READY)
    assert page.inner_text("#count").startswith("2 of")


def test_two_tabs_answer_each_item_once(chromium: Any, served: Served) -> None:
    one = served.open(chromium)
    begin(one, served.link())
    two = one.context.new_page()
    two.goto(served.link())
    two.wait_for_selector(READY)
    after(one, lambda: one.keyboard.press("ArrowLeft"))
    two.evaluate("document.getElementById('choose-right').click()")
    two.wait_for_function("() => document.getElementById('count').innerText.startsWith('2 of')")
    assert served.choices() == ["left"]
    two.wait_for_selector(READY)
    after(two, lambda: two.keyboard.press("ArrowRight"))
    one.evaluate("window.dispatchEvent(new Event('focus'))")
    one.wait_for_function("() => document.getElementById('count').innerText.startsWith('3 of')")
    assert served.choices() == ["left", "right"]


def test_going_back_and_forward_loses_nothing(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    begin(page, served.link())
    after(page, lambda: page.keyboard.press("Space"))
    page.goto(f"{served.origin}/favicon.ico".replace("favicon.ico", "study.css"))
    page.go_back()
    page.wait_for_selector(READY)
    assert page.inner_text("#count").startswith("2 of")
    after(page, lambda: page.keyboard.press("Space"))
    assert served.choices() == ["tie", "tie"]


def test_pictures_that_come_late_cannot_be_answered_before(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    page.goto(served.link())
    held: list[Any] = []
    page.route("**/picture/**", lambda route: held.append(route))
    page.check("#agree")
    page.click("#begin")
    page.wait_for_selector("#work:not([hidden])")
    page.wait_for_timeout(1000)
    page.keyboard.press("ArrowLeft")
    assert page.is_disabled("#choose-left")
    assert "loading" in page.inner_text("#status")
    assert served.choices() == []
    assert len(held) == 2, "only the item's own pictures are asked for before it is shown"
    for route in held[:2]:
        route.continue_()
    page.wait_for_selector(READY)
    assert page.inner_text("#status") == ""
    assert page.evaluate("document.getElementById('left').naturalWidth") > 0


def test_a_picture_or_answer_that_fails_can_be_tried_again(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    begin(page, served.link())
    page.route("**/vote", lambda route: route.abort())
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#again:not([hidden])")
    assert "cannot be reached" in page.inner_text("#status")
    assert served.choices() == []
    page.unroute("**/vote")
    after(page, lambda: page.click("#again"))
    assert served.choices() == ["right"]
    served.messages[:] = [one for one in served.messages if "ERR_FAILED" not in one]


def test_a_screen_reader_finds_its_way(chromium: Any, served: Served) -> None:
    page = served.open(chromium)
    begin(page, served.link())
    names = [page.locator(f"#choose-{one}").inner_text() for one in ("left", "tie", "right")]
    assert "About equal" in names[1]
    for one in ("Picture 1", "Picture 2") if "Picture 1" in names[0] else ("Set 1", "Set 2"):
        assert page.get_by_role("img", name=one).count() == 1
        assert page.get_by_role("button", name=one).count() == 1
    assert page.get_by_role("progressbar", name="Progress").count() == 1
    assert page.locator("#status").get_attribute("aria-live") == "assertive"
    assert page.locator("#count").get_attribute("aria-live") == "polite"
    assert page.evaluate("document.activeElement.id") == "question"


def test_a_bundle_works_from_a_file_and_gives_its_answers(chromium: Any, served: Served, tmp_path: Path) -> None:
    (path,) = bench.study.export(served.study.folder, "bundle", tmp_path / "out", raters=1)
    context = chromium.new_context(accept_downloads=True)
    page, second = context.new_page(), context.new_page()
    faults: list[str] = []
    for one in (page, second):
        one.on("console", lambda message: faults.append(message.text))
        one.on("pageerror", lambda error: faults.append(str(error)))
    begin(page, path.as_uri())
    second.goto(path.as_uri())  # a tab that was opened before there were answers
    second.wait_for_selector(READY)
    total = len(served.study.plan["r0001"])
    for _ in range(2):
        after(page, lambda: page.keyboard.press("ArrowLeft"))
    after(second, lambda: second.keyboard.press("ArrowRight"))  # still shows the first item, whose answer stands
    assert second.inner_text("#count") == f"3 of {total}"
    after(second, lambda: second.keyboard.press("ArrowRight"))
    page.reload()
    page.wait_for_selector(READY)
    assert page.inner_text("#count") == f"4 of {total}"
    for number in range(3, total - 1):
        after(page, lambda number=number: page.keyboard.press(["ArrowLeft", "ArrowRight", "Space"][number % 3]))
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#save:visible")
    with page.expect_download() as download:
        page.click("#save")
    file = tmp_path / "answers.json"
    download.value.save_as(file)
    answers = json.loads(file.read_text())["answers"]
    assert len({one["item"] for one in answers}) == len(answers) == total
    assert [one["choice"] for one in answers[:4]] == ["left", "left", "right", "left"]
    assert bench.study.import_answers(served.study.folder, file).stored == total
    assert len(read_votes(served.study.folder)) == total
    assert faults == []
