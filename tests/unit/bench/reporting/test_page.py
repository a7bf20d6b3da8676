"""index.html and what lies beside it: nothing untrusted is markup, images few and many, odd results."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import runpy
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.reporting.thumbnails as pictures_module
from bench.analysis.table.arrays import most_changed, prompt_averages
from bench.errors import UsageError
from bench.reporting.image_folder import replace_folder
from bench.reporting.page import SCRIPTS
from bench.reporting.payload import embedded_json
from bench.reporting.report import report
from bench.store.records import ScoreRow

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]
ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028{{ 7 * 7 }}"


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    """The still pictures are tested elsewhere, and drawing them takes most of a report's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.reporting.report._pictures", lambda table: {"pareto.svg": b"<svg/>"})
        yield


class Reader(HTMLParser):
    """What a browser would see: elements with their attributes, and the texts of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        self.text += data


def read(path: Path) -> tuple[str, Reader, dict[str, Any]]:
    text = (path / "index.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    data = next(script for attributes, script in reader.scripts if attributes.get("id") == "data")
    return text, reader, json.loads(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("page")
    for method in ("base", "refl"):
        make(results, method, prompts=6, samples=2, images=True, texts={1: ATTACK})
    make(results, ATTACK, prompts=6, samples=2, means=fakes["MEANS"]["combined"], texts={1: ATTACK})
    report(results, results / "report", n_resamples=200)
    return results / "report"


@pytest.mark.slow
def test_untrusted_text_is_never_markup(folder: Path) -> None:
    text, reader, data = read(folder)
    assert [tag for tag, _ in reader.elements].count("script") == 3 + len(SCRIPTS)  # two of data, plotly
    assert not any(attributes.get("src") == "x" for _, attributes in reader.elements)
    assert "<script>alert(1)" not in text
    assert data["prompts"][1]["text"] == ATTACK
    assert any("{{ 7 * 7 }}" in method["name"] for method in data["methods"])  # of a path only the last part is shown
    assert "{{ 7 * 7 }}" in reader.text


@pytest.mark.slow
def test_the_policy_names_the_digest_of_every_script(folder: Path) -> None:
    _, reader, _ = read(folder)
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = [script for attributes, script in reader.scripts if attributes.get("type") != "application/json"]
    assert [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run] == allowed
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_nothing_is_loaded_from_elsewhere(folder: Path) -> None:
    _, reader, _ = read(folder)
    loading = [a for tag, a in reader.elements if tag in ("script", "link", "img", "iframe", "source")]
    addresses = [a[key] or "" for a in loading for key in ("src", "href") if key in a]
    assert all(address.startswith("data:") for address in addresses)


def test_values_and_images_are_in_the_page(folder: Path) -> None:
    text, _, data = read(folder)
    numbers = np.frombuffer(base64.b64decode(data["values"][0]), dtype="<f4").reshape(3, 6, 2)
    assert np.isfinite(numbers).all()
    assert data["images"]["mode"] == "page"
    images = json.loads(re.search(r'id="images">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert len(images) == 2 * 6 * 2  # the third method has none
    assert all(one.startswith("data:image/png;base64,") for one in images.values())
    assert not (folder / "index_files").exists()


def test_json_in_a_script_element_ends_nothing() -> None:
    text = embedded_json({"a": ATTACK + "<!-- &"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["a"] == ATTACK + "<!-- &"
    with pytest.raises(ValueError, match="JSON"):
        embedded_json({"a": math.nan})


def test_the_tables_mark_the_best_and_name_no_path_of_this_machine(folder: Path) -> None:
    text, reader, _ = read(folder)
    assert 'class="value best"' in text
    assert 'class="value level"' in text
    assert str(folder.parent.parent) not in text
    assert "Price of ImageReward (shapes)" in reader.text
    assert "Over-optimisation" in reader.text


def many(monkeypatch: pytest.MonkeyPatch, results: Path) -> None:
    monkeypatch.setattr(pictures_module, "IN_PAGE_BYTES", 100)
    for method in ("base", "refl"):
        make(results, method, prompts=6, samples=2, images=True)


@pytest.mark.slow
def test_many_images_lie_beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch, tmp_path)
    report(tmp_path, tmp_path / "report", n_resamples=100, gallery=3)
    _, _, data = read(tmp_path / "report")
    images = data["images"]
    assert images["mode"] == "files"
    assert images["thumbs"] == "page"
    assert len(images["prompts"]) == 3
    beside = tmp_path / "report" / "index_files"
    assert len(list(beside.rglob("*.png"))) == 2 * 3 * 2
    prompt_id = data["prompts"][images["prompts"][0]]["id"]
    assert (tmp_path / "report" / images["folders"][1] / prompt_id / "1.png").is_file()
    assert (tmp_path / "report" / images["origins"][0] / "p0000" / "0.png").is_file()
    report(tmp_path, tmp_path / "report", n_resamples=100, gallery=0)
    assert not beside.exists()
    assert 'id="gallery"' not in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_page_outside_of_the_results_names_no_path_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch, tmp_path / "results")
    monkeypatch.setattr(pictures_module, "IN_PAGE_THUMBNAILS", 1)
    report(tmp_path / "results", tmp_path / "elsewhere", n_resamples=100, gallery=2)
    text, _, data = read(tmp_path / "elsewhere")
    assert data["images"]["origins"] == [None, None]
    assert data["images"]["thumbs"] == "files"
    assert len(list((tmp_path / "elsewhere" / "index_files").rglob("*.webp"))) == 2 * 2 * 2
    assert str(tmp_path) not in text


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index_files").mkdir()
    (tmp_path / "index_files" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not created by `bench report`; move it"):
        replace_folder(tmp_path / "index_files", {"a/b.png": b"1"})
    replace_folder(tmp_path / "index_files", {})
    assert (tmp_path / "index_files" / "mine.txt").read_text() == "mine"


def test_broken_and_missing_images_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path, "base", prompts=4, samples=2, images=True)
    store.image_path("p0001", 0).write_bytes(b"not a picture")
    store.image_path("p0001", 1).unlink()
    report(tmp_path, tmp_path / "a", n_resamples=100)
    text = (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    assert sorted(json.loads(re.search(r'id="images">(.*?)</script>', text, re.S)[1])) == [  # type: ignore[index]
        f"0/{p}/{s}" for p in (0, 2, 3) for s in (0, 1)
    ]
    monkeypatch.setattr(pictures_module, "IN_PAGE_BYTES", 100)
    report(tmp_path, tmp_path / "b", n_resamples=100)
    assert len(list((tmp_path / "b" / "index_files").rglob("*.png"))) == 6


def test_one_method_one_sample_and_unscored_values(tmp_path: Path) -> None:
    store = make(tmp_path, "refl", prompts=3, samples=1, metrics=("image_reward",))
    store.append_scores("lpips", [ScoreRow(f"p{i:04d}", None, math.nan, "one image") for i in range(3)], card("lpips"))
    report(tmp_path, tmp_path / "out", n_resamples=100)
    _, reader, data = read(tmp_path / "out")
    assert data["cells"][0][1] == [None, None, None, 0, 3]
    for sentence in (
        "no run of method base", "one method only", "one image per prompt: diversity cannot be scored",
        "3 of 3 values unscored, for instance: one image",
    ):  # fmt: skip
        assert sentence in reader.text


def test_runs_without_any_score(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path, method, prompts=2, metrics=())
    report(tmp_path, tmp_path / "out", n_resamples=100)
    assert read(tmp_path / "out")[2]["metrics"] == []


def test_prompts_that_changed_most_come_first() -> None:
    class Fake:
        rows = (type("R", (), {"name": "a"}), type("R", (), {"name": "b"}))
        reference = "a"

    table: Any = Fake()
    table.rows[0].run = type("Run", (), {"prompts": [("p0", ""), ("p1", ""), ("p2", "")]})
    values = np.zeros((2, 3, 2), dtype=np.float32)
    values[1] = [[0.1, 0.1], [5, math.nan], [1, 1]]
    assert prompt_averages(values)[1].tolist() == pytest.approx([0.1, 5, 1])
    assert most_changed(table, {"m": values}).tolist() == [1, 2, 0]
