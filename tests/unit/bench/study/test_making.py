"""Making a study: what is refused, what is left out and told, and what the folder holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import bench.study
from bench.errors import BenchError
from bench.study.datasheet import datasheet
from bench.study.folder import Study
from tests.unit.bench.study.conftest import METHODS, RUNS


def copies(tmp_path: Path) -> list[Path]:
    results = tmp_path / "results" / "runs" / "small"
    for name in METHODS:
        shutil.copytree(RUNS / name, results / name)
    return [results / name for name in METHODS]


def test_the_folder_has_what_it_says(made: Path) -> None:
    study = bench.study.open_study(made)
    assert study.manifest["tasks"] == ["preference", "diversity"]
    assert [one["name"] for one in study.manifest["methods"]] == ["base", "refl", "combined"]
    real = [item for item in study.items.values() if item.kind == "real"]
    assert len(real) == 2 * 3 * 4
    assert all((item.sample is None) == (item.task == "diversity") for item in real)
    for item in study.items.values():
        assert study.asset(item.asset_a).is_file()
        assert (item.check == 1.0) == (item.kind == "check")
        assert (item.repeated_of in study.items) == (item.kind == "repeat")
    used = {name for item in study.items.values() for name in (item.asset_a, item.asset_b)}
    assert used == {path.name for path in (made / "assets").iterdir()}


def test_a_picture_that_is_damaged_is_left_out_and_told(tmp_path: Path, said: list[str]) -> None:
    runs = copies(tmp_path)
    victim = sorted((runs[1] / "images").rglob("*.png"))[0]
    victim.write_bytes(victim.read_bytes()[:-20])
    study = bench.study.make(runs, tmp_path / "study", per_rater=4)
    assert any("1 image of refl cannot be used" in line for line in said)
    assert any("1 prompt left out" in line for line in said)
    prompts = {item.prompt_id for item in study.items.values()}
    assert victim.parent.name not in prompts
    assert len(prompts) == 3
    assert any("1 prompt left out" in note for note in study.manifest["notes"])


def test_finished_work_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(BenchError, match="already exists and is not empty"):
        bench.study.make([RUNS / name for name in METHODS], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"task": "taste"}, "--task taste must be one of preference, diversity, alignment, both, all"),
        ({"per_rater": 0}, "--per-rater 0 must be at least 1"),
        ({"votes": 0}, "--votes 0 must be at least 1"),
        ({"raters": 0}, "--raters 0 must be at least 1"),
        ({"prompts": 0}, "--prompts 0 must be at least 1"),
        ({"prompts": 99}, "--prompts 99: only 4 prompts can be used"),
        ({"questions": {"diversity": "x"}}, "the tasks of this study are preference"),
        ({"questions": {"preference": " "}}, "has no text"),
        ({"votes": 10**6, "per_rater": 1}, "more than 10000"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(BenchError, match=why):
        bench.study.make([RUNS / name for name in METHODS], tmp_path / "study", **options)
    assert not (tmp_path / "study" / "study.json").exists()


def test_one_run_is_no_comparison_and_other_prompts_are_not_comparable(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="at least 2 runs"):
        bench.study.make([RUNS / METHODS[0]], tmp_path / "study")
    with pytest.raises(BenchError, match="at least 2 runs"):
        bench.study.make([RUNS / METHODS[0], RUNS / METHODS[0]], tmp_path / "study")
    runs = copies(tmp_path)
    manifest = json.loads((runs[1] / "manifest.json").read_text())
    manifest["prompts"][0]["text"] = "something else"
    (runs[1] / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BenchError):
        bench.study.make(runs, tmp_path / "study")


def test_a_prompt_with_markup_reaches_the_rater_as_text(tmp_path: Path) -> None:
    attack = '<script>alert(1)</script> </script><img src=x onerror=alert(2)> "&amp; \u2028 {{ 7*7 }}'
    study = bench.study.make([RUNS / name for name in METHODS], tmp_path / "study", per_rater=4)
    lines = [json.loads(line) for line in (study.folder / "items.jsonl").read_text().splitlines()]
    (study.folder / "items.jsonl").write_text("".join(json.dumps({**one, "prompt": attack}) + "\n" for one in lines))
    (path,) = bench.study.export(study.folder, "bundle", tmp_path / "out", raters=1)
    text = path.read_text()
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "onerror=alert(2)" in text


def test_few_raters_and_few_items_are_told(tmp_path: Path, said: list[str]) -> None:
    study = bench.study.make([RUNS / name for name in METHODS], tmp_path / "study", raters=1, votes=5, per_rater=99)
    assert any("12 items a rater instead of 99" in line for line in said)
    assert any("1 rater give" in line or "1.0 votes an item instead of 5" in line for line in said)
    assert len(study.plan) == 1


def test_the_data_sheet_says_what_a_reader_must_know(made: Path, study: Study) -> None:
    text = (made / "DATASHEET.md").read_text()
    for words in ("24 items", "4 prompts", "forget RATER", "None beyond a random code", "study.key", "base@f968f89e"):
        assert words in text.replace("\\", ""), words
    study.manifest["consent"] = "<b>*bold*</b>"
    assert "<b>" not in datasheet(study)
    sheet = study.folder / "DATASHEET.md"
    sheet.write_text("filled in")
    from bench.study.datasheet import write_datasheet

    write_datasheet(study)
    assert sheet.read_text() == "filled in"


@pytest.mark.parametrize("name", ["study.json", "items.jsonl", "plan.jsonl", "study.key"])
def test_a_study_without_a_file_is_one_sentence(study: Study, name: str) -> None:
    (study.folder / name).unlink()
    with pytest.raises(BenchError):
        bench.study.forget(study.folder, "r0001")


@pytest.mark.parametrize("name", ["study.json", "items.jsonl", "plan.jsonl", "study.key"])
@pytest.mark.parametrize("content", ["", "{}", "[]", "{}\n{}", "\x00"])
def test_a_damaged_study_is_one_sentence(study: Study, name: str, content: str) -> None:
    (study.folder / name).write_text(content)
    with pytest.raises(BenchError) as raised:  # no item, or no rater, is none of the study's as well
        bench.study.forget(study.folder, "r0001")
    assert "\n" not in str(raised.value)


def test_items_cannot_point_outside_the_assets(study: Study) -> None:
    text = (study.folder / "items.jsonl").read_text()
    first = next(iter(study.items.values())).asset_a
    (study.folder / "items.jsonl").write_text(text.replace(first, "../study.key"))
    with pytest.raises(BenchError, match="outside assets/"):
        bench.study.open_study(study.folder)


@pytest.mark.slow
def test_forget_takes_a_name_a_link_or_a_code(study: Study) -> None:
    from bench.study.keys import Keys

    keys = Keys.of(study.folder, study.plan)
    bench.study.simulate(study.folder, raters=3)
    assert bench.study.forget(study.folder, "r0001") == 17
    assert bench.study.forget(study.folder, f"http://host/r/{keys.token('r0002')}") == 17
    assert bench.study.forget(study.folder, keys.completion("r0003")) == 17
    assert bench.study.forget(study.folder, "r0001") == 0
    with pytest.raises(BenchError, match="unknown rater 'r9'"):
        bench.study.forget(study.folder, "r9")
    raw = b"".join(path.read_bytes() for path in study.folder.glob("study.db*"))
    item = study.plan["r0001"][0].item
    assert item.encode() not in raw, "removed rows are zeroed on the disk"
