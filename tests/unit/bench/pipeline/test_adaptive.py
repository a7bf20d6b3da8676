"""`bench run --until`: one run that grows in a fixed random order, looks fixed beforehand, resumable."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.analysis.table.build import build
from bench.errors import UsageError
from bench.pipeline import adaptive
from bench.store.runs import read_run

COMMON = {"samples": 1, "metrics": ["pickscore", "fid"], "device": "cpu", "max_prompts": 6}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "FIRST_LOOK", 3)


def test_looks_are_fixed_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "FIRST_LOOK", 32)
    assert adaptive.looks(200) == [32, 45, 64, 91, 128, 181, 200]
    assert adaptive.looks(32) == [32]
    assert adaptive.looks(10) == [10]


@pytest.mark.slow
def test_it_stops_when_the_answer_is_known_and_goes_on_for_a_harder_one(tmp_path: Path) -> None:
    (easy,) = bench.run("shapes", "base", until="pickscore=1000", results=tmp_path, **COMMON)
    grown = easy.manifest().grown
    assert (grown["prompts"], grown["of"], grown["looks"]) == (3, 6, [3, 4, 6])
    assert grown["stopped"] == "the question was answered"
    assert len(easy.images()) == 3
    names = [row.prompt_id for row in easy.images()]
    (hard,) = bench.run("shapes", "base", until="pickscore=0.0001", results=tmp_path, **COMMON)
    assert hard.path == easy.path  # one run that grows
    assert hard.manifest().complete
    assert {row.prompt_id for row in easy.images()} >= set(names)
    assert len(hard.images()) == 6
    run = read_run(hard)
    assert len(run.rows("pickscore")) == 6
    assert run.n_images == 6
    assert any("adaptive run" in note and "stay undecided" in note for note in build([run]).notes)
    made = hard.manifest().counts["images_generated"]
    (again,) = bench.run("shapes", "base", until="pickscore=0.0001", results=tmp_path, **COMMON)
    assert again.manifest().counts["images_generated"] == made == 6


@pytest.mark.slow
def test_until_decided_and_lines_on_set_metrics(tmp_path: Path) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[base.pickscore]\nmin = -100\n[base.fid]\nmax = 1000\n", encoding="utf-8")
    (store,) = bench.run("shapes", "base", until="decided", thresholds=gate, results=tmp_path, **COMMON)
    grown = store.manifest().grown
    assert (grown["prompts"], grown["set_metrics"]) == (3, ["base fid"])
    assert "gate.toml" in grown["rule"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "lpips"}, "write METRIC=SIZE"),
        ({"until": "lpips=-1"}, "write METRIC=SIZE"),
        ({"until": "decided"}, "needs --thresholds"),
        ({"until": "lpips=0.1", "thresholds": "x.toml"}, "requires --until decided"),
        ({"until": "lpips=0.1", "max_prompts": 1}, "must be at least 2"),
        ({"until": "lpips=0.1", "metrics": ["pickscore"]}, "the suite does not score lpips"),
        ({"max_prompts": 5}, "require --until"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.run("shapes", "base", results=tmp_path, **options)
