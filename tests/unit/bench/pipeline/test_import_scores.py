"""Scores of others: taken as they are, marked everywhere, compared only under equal cards; bad input is a sentence."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import pytest

import bench
from bench.analysis.comparable import with_equal_cards
from bench.errors import NotComparableError, UsageError
from bench.reporting.leaderboard.record import record_of, run_of
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
CARD = """
source = "the authors' evaluation, https://example.org/scores"
trained_on = ["pickscore"]
[metrics.pickscore]
kind = "image"
direction = "higher"
title = "PickScore"
version = "1"
[metrics.lpips]
kind = "group"
direction = "higher"
[metrics.fid]
kind = "set"
direction = "lower"
"""
PROMPTS = 'a cat\na dog\n"quoted", with a comma\n'
HEAD = "prompt,sample,metric,value,reason\n"
ROWS = (
    "p0001,0,pickscore,21.5,\np0001,1,pickscore,20.5,\na dog,0,pickscore,19,\na dog,1,pickscore,,not delivered\n"
    '"""quoted"", with a comma",0,pickscore,18,\n,,fid,31.25,\n'
    "p0001,,lpips,0.4,\np0002,,lpips,nan,\np0003,,lpips,0.2,\n"
)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text(PROMPTS, encoding="utf-8")
    (tmp_path / "card.toml").write_text(CARD, encoding="utf-8")
    (tmp_path / "scores.csv").write_text(HEAD + ROWS, encoding="utf-8")
    return tmp_path


def take(folder: Path, name: str = "theirs") -> RunStore:
    return bench.import_scores(
        folder / "scores.csv",
        folder / "card.toml",
        suite="images",
        prompts=folder / "prompts.txt",
        name=name,
        results=folder / "results",
    )


def test_values_are_those_of_the_file_and_gaps_are_unscored(given: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = read_run(take(given))
    rows = {(p, s): v for p, s, v in run.rows("pickscore")[["prompt_id", "sample", "value"]].itertuples(index=False)}
    assert rows["p0001", 0] == 21.5
    assert rows["p0002", 0] == 19
    assert math.isnan(rows["p0002", 1])
    assert math.isnan(rows["p0003", 1])  # it is not in the file, and is missed all the same
    assert run.samples == 2
    reasons = dict(run.rows("pickscore").query("value != value")[["prompt_id", "reason"]].itertuples(index=False))
    assert reasons["p0002"] == "not delivered"
    assert run.rows("fid")["value"].tolist() == [31.25]
    assert run.rows("lpips")["value"].isna().sum() == 1
    assert "pickscore has 5 values of 6" in caplog.text
    assert run.trained_on == ("pickscore",)


def test_they_are_marked_where_they_are_read(given: Path) -> None:
    take(given)
    mark = "not scored here: values as given by the authors' evaluation"
    run = open_runs(given / "results")[0][0]
    assert all(mark in note for notes in run.notes.values() for note in notes)
    assert set(run.notes) == {"pickscore", "lpips", "fid"}
    bench.report(results=given / "results", out=given / "out", gallery=0)
    assert mark in (given / "out" / "table.md").read_text(encoding="utf-8").replace("\\", "")
    bench.leaderboard([given / "results"], given / "site")
    assert "not scored here" in (given / "site" / "index.html").read_text(encoding="utf-8")
    record = json.loads(next((given / "site" / "records").rglob("*.json")).read_text(encoding="utf-8"))
    assert record["scored"] == "elsewhere"
    assert bench.check_records([given / "site"]) == (1, [])


def test_the_same_file_is_the_same_run_and_another_card_is_another(given: Path) -> None:
    first, again = take(given), take(given)
    assert first.name == again.name
    (given / "card.toml").write_text(CARD.replace('version = "1"', 'version = "2"'), encoding="utf-8")
    other = take(given)
    assert other.name != first.name
    assert (first.manifest().name, other.manifest().name) == ("", "theirs")


def test_it_is_never_scored_over(given: Path) -> None:
    take(given)
    with pytest.raises(UsageError, match="has no images, as its scores were imported"):
        bench.score("theirs", results=given / "results")


def imported(folder: Path, card: dict[str, object]) -> None:
    """The values of a fake run `refl`, through a CSV file, beside the fake run `base`."""
    options = {"prompts": 9, "samples": 2, "metrics": ("pickscore",), "suite": "images"}
    fakes["make"](folder / "results", "base", **options)
    theirs = read_run(fakes["make"](folder / "theirs", "refl", **options))
    texts = dict(theirs.prompts)
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"id": one, "text": text}) + "\n" for one, text in theirs.prompts), encoding="utf-8"
    )
    lines = [
        f"{texts[p]!s},{s},pickscore,{v}".replace(texts[p], f'"{texts[p]}"')
        for p, s, v in theirs.rows("pickscore")[["prompt_id", "sample", "value"]].itertuples(index=False)
    ]
    (folder / "s.csv").write_text("prompt,sample,metric,value\n" + "\n".join(lines) + "\n", encoding="utf-8")
    facts = {"source": "them", "metrics": {"pickscore": card}}
    (folder / "card.json").write_text(json.dumps(facts), encoding="utf-8")
    bench.import_scores(
        folder / "s.csv",
        folder / "card.json",
        suite="images",
        prompts=folder / "prompts.jsonl",
        name="theirs",
        results=folder / "results",
    )


def test_equal_cards_are_compared_and_others_are_not(tmp_path: Path) -> None:
    full = {key: value for key, value in fakes["card"]("pickscore").items() if key != "name"}
    (tmp_path / "a").mkdir()
    imported(tmp_path / "a", full)
    found = bench.compare("base", "theirs", results=tmp_path / "a" / "results")
    (one,) = found.differences
    assert one.interval.n_unscored == 0
    assert one.interval.mean > 1  # 21.9 against 19.8
    (tmp_path / "b").mkdir()
    imported(tmp_path / "b", {"kind": "image", "direction": "higher", "version": "1"})
    with pytest.raises(NotComparableError, match="metric pickscore was computed differently: unit"):
        bench.compare("base", "theirs", results=tmp_path / "b" / "results")


def with_fid(folder: Path, reference: dict[str, object]) -> list[str]:
    """Metrics in which an imported run is compared with one whose FID has a reference on record."""
    ours = {"count": 2000, "kind": "shapes"}
    fid = fakes["card"]("fid") | {"scope": "s", "asked": {"reference": ours}, "weights": {"a": "1"}}
    options = {"prompts": 3, "samples": 2, "suite": "images", "metrics": ("pickscore", "fid")}
    base = read_run(fakes["make"](folder / "results", "base", **options, cards={"fid": fid}))
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"id": one, "text": text}) + "\n" for one, text in base.prompts), encoding="utf-8"
    )
    lines = [f"{p},{s},pickscore,{20 + s}" for p, _ in base.prompts for s in range(2)]
    (folder / "s.csv").write_text("prompt,sample,metric,value\n" + "\n".join([*lines, ",,fid,9"]), encoding="utf-8")
    known = {"name", "scope", "asked"}
    cards = {name: {k: v for k, v in fakes["card"](name).items() if k not in known} for name in ("pickscore", "fid")}
    cards["fid"] |= {"weights": {"a": "1"}, **reference}
    (folder / "c.json").write_text(json.dumps({"source": "them", "metrics": cards}), encoding="utf-8")
    given = {"suite": "images", "prompts": folder / "prompts.jsonl", "results": folder / "results"}
    store = bench.import_scores(folder / "s.csv", folder / "c.json", name="theirs", **given)
    theirs = read_run(store)
    again = run_of(record_of(theirs))
    assert again.metrics["fid"].card["asked"] == theirs.metrics["fid"].card["asked"]
    kept = with_equal_cards([base, theirs])[1]
    assert all("reference" in why for why in kept.differing.values())
    return sorted(kept.metrics)


def test_a_set_metric_is_compared_only_where_its_reference_is_stated(tmp_path: Path) -> None:
    found = {}
    given: dict[str, dict[str, object]] = {
        "same": {"reference": {"kind": "shapes", "count": 2000}},
        "other": {"reference": {"kind": "shapes", "count": 500}},
        "text": {"reference": "COCO"},
        "none": {},
    }
    for name, reference in given.items():
        (tmp_path / name).mkdir()
        found[name] = with_fid(tmp_path / name, reference)
    assert found == {"same": ["fid", "pickscore"], **{one: ["pickscore"] for one in ("other", "text", "none")}}
    run = read_run(next(iter(RunStore(path.parent) for path in (tmp_path / "none").rglob("theirs@*/manifest.json"))))
    assert run.metrics["fid"].card["asked"] == {"reference": "not stated"}


def test_a_reference_leaves_the_ids_of_other_runs_as_they_were(given: Path) -> None:
    assert take(given).name == "theirs@1a5e06b0"


BAD = [
    (HEAD.replace("metric", "measure") + ROWS, CARD, "has no column metric: its columns are prompt, sample, measure"),
    (HEAD, CARD, "holds no values"),
    (HEAD + "p0009,0,pickscore,1,\n", CARD, "'p0009' is no prompt of this suite"),
    (HEAD + "p0001,-1,pickscore,1,\n", CARD, "sample '-1' must be a number from 0"),
    (HEAD + "p0001,99999999999,pickscore,1,\n", CARD, "must be a number from 0"),
    (HEAD + "p0001,0,pickscor,1,\n", CARD, "unknown metric 'pickscor'. Did you mean 'pickscore'?"),
    (HEAD + "p0001,0,pickscore,good,\n", CARD, "value 'good' must be a number"),
    (HEAD + "p0001,0,pickscore,inf,\n", CARD, "value 'inf' must be finite"),
    (
        HEAD + "p0001,0,pickscore,1,\np0001,0,pickscore,2,\n",
        CARD,
        "line 3: a second value of pickscore for p0001, sample 0",
    ),
    (HEAD + "p0001,0,pickscore,0,,5\n", CARD, "line 2: more fields than the 5 columns: put commas in quotes"),
    (HEAD + ROWS, CARD.replace('"image"', '"image"\nreference = "x"'), "pickscore: only a set metric has a reference"),
    (HEAD + "p0001,0,lpips,1,\n", CARD, "a group metric has one value for the images of a prompt"),
    (HEAD + "p0001,,fid,1,\n", CARD, "a set metric has one value, without prompt and sample"),
    (HEAD + "p0001,0,pickscore,1,\n", CARD, "holds no value of lpips, fid, which the card describes"),
    (HEAD + '"p0001', CARD, "not CSV"),
    (HEAD + ROWS, CARD.replace("source", "by"), "source: Field required"),
    (HEAD + ROWS, CARD.replace('"image"', '"picture"'), "metrics.pickscore.kind: Input should be 'image'"),
    (HEAD + ROWS, "a = ", "not TOML"),
]


@pytest.mark.parametrize(("text", "card", "sentence"), BAD)
def test_what_cannot_be_is_one_sentence_and_leaves_no_run(given: Path, text: str, card: str, sentence: str) -> None:
    (given / "scores.csv").write_text(text, encoding="utf-8")
    (given / "card.toml").write_text(card, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        take(given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((given / "results").rglob("manifest.json"))


def test_other_encodings_are_told(given: Path) -> None:
    (given / "scores.csv").write_bytes((HEAD + ROWS).encode("utf-16"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        take(given)
    (given / "scores.csv").write_bytes((HEAD + ROWS).encode("utf-8-sig"))
    assert take(given).manifest().complete
