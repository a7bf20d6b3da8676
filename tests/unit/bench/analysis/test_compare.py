"""Paired differences between two runs."""

from __future__ import annotations

import dataclasses
import math
import runpy
from pathlib import Path

import pytest

import bench.analysis.compare
from bench.analysis.compare import compare
from bench.errors import NotComparableError, UsageError
from bench.reporting.comparison import comparison_text
from bench.store.records import ScoreRow
from bench.store.runs import read_run

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


def test_differences_are_b_minus_a_and_know_the_direction(tmp_path: Path) -> None:
    found = compare(make(tmp_path, "base", prompts=12), make(tmp_path, "refl", prompts=12))
    table = found.table.set_index("metric")
    assert table.loc["pickscore", "difference"] == pytest.approx(
        table.loc["pickscore", "b"] - table.loc["pickscore", "a"]
    )
    assert table.loc["pickscore", "better"] == "b"
    assert table.loc["lpips", "better"] == "a"
    assert table.loc["lpips", "p"] < 0.01 <= 1
    assert table.loc["lpips", "p_holm"] >= table.loc["lpips", "p"]
    assert (table.loc["pickscore", "n"], table.loc["lpips", "n"]) == (60, 12)
    assert math.isnan(table.loc["fid", "ci_low"])
    assert table.loc["fid", "difference"] == pytest.approx(27.6)
    assert "base" in comparison_text(found)


def test_pairs_join_on_prompt_and_sample(tmp_path: Path) -> None:
    a, b = make(tmp_path, "base", prompts=3, metrics=()), make(tmp_path, "refl", prompts=3, metrics=())
    keys = [(f"p000{p}", s) for p in range(3) for s in range(2)]
    a.append_scores("image_reward", [ScoreRow(p, s, 1.0) for p, s in keys], card("image_reward"))
    other = [ScoreRow(p, s, 2.0 + s) for p, s in reversed(keys[:-1])] + [ScoreRow("p0002", 1, math.nan, "black")]
    b.append_scores("image_reward", other, card("image_reward"))
    row = compare(a, b).table.iloc[0]
    assert (row["n"], row["n_unscored"]) == (5, 10)  # of 15 expected pairs: one is black, the others were never made
    assert row["difference"] == pytest.approx((1.5 + 1.5 + 1) / 3)  # the mean is over prompts
    assert row["win_rate"] == 1.0


def test_identical_runs_differ_by_nothing(tmp_path: Path) -> None:
    store = make(tmp_path, "base", prompts=5)
    table = compare(store, store).table
    assert (table["difference"] == 0).all()
    assert (table["better"] == "").all()
    assert (table.loc[table["kind"] != "set", "win_rate"] == 0.5).all()


def test_a_difference_without_an_interval_says_why_and_is_no_test(tmp_path: Path) -> None:
    """Equal values with gaps: of values that do not repeat the pairs are one picture, of others nothing can be said."""
    for method, lost in (("base", set()), ("refl", {3, 5})):
        store = make(tmp_path, method, prompts=12, metrics=())
        for metric, value in (("lpips", lambda p: p / 7), ("dreamsim", lambda p: 1.0), ("pickscore", lambda p: p % 5)):
            kept = [
                ScoreRow(f"p{p:04d}", None, math.nan if p in lost else value(p), "lost" if p in lost else None)
                for p in range(12)
            ]
            store.append_scores(metric, kept, card(metric, kind="group"))
    found = compare("base", "refl", results=tmp_path)
    rows = found.table.set_index("metric")
    assert (rows.loc["lpips", "ci_low"], rows.loc["lpips", "ci_high"], rows.loc["lpips", "p_holm"]) == (0.0, 0.0, 1.0)
    assert rows.loc["lpips", "reason"].startswith("the pictures of all pairs are identical; 2 values are scored on one")
    for metric in ("dreamsim", "pickscore"):
        assert rows.loc[metric, ["ci_low", "p", "p_holm"]].isna().all()
        assert rows.loc[metric, "reason"] == "no interval: both have equal values in all pairs of 10 prompts"
    assert found.data["family"]["tests"] == 1
    printed = comparison_text(found)
    assert "corrected for the 1 difference of this table" in printed
    assert "no interval: both have equal values in all pairs of 10 prompts" in printed
    assert "2 values are scored on one side only, of which that says nothing" in printed


def test_wins_follow_the_direction(tmp_path: Path) -> None:
    """A distance per image of which lower is better: b is lower in three of four pairs, so it wins three quarters."""
    stores = [make(tmp_path, method, prompts=4, metrics=()) for method in ("base", "refl")]
    lower = card("image_reward", direction="lower")
    for store, values in zip(stores, ([1, 1, 1, 1], [0, 0, 0, 2]), strict=True):
        store.append_scores("image_reward", [ScoreRow(f"p000{p}", 0, float(v)) for p, v in enumerate(values)], lower)
    found = compare(*stores)
    assert found.table.iloc[0]["win_rate"] == 0.75
    assert "75%" in comparison_text(found)
    assert "share of pairs in which refl is better" in comparison_text(found)


@pytest.mark.slow
def test_full_marks_are_possible_in_a_large_table_of_tags(tmp_path: Path) -> None:
    """60 tags x 2 metrics are one family; tags of fewer than 8 prompts can have no full mark, and are told apart."""
    stores = [make(tmp_path, method, prompts=64, metrics=("pickscore", "lpips")) for method in ("base", "refl")]
    first, second = (read_run(store) for store in stores)
    tags = {
        prompt: tuple([f"t{n}" for n in range(60) if (n + index) % 4] + ["few"] * (index < 5))
        for index, (prompt, _) in enumerate(first.prompts)
    }
    found = compare(dataclasses.replace(first, tags=tags), second, top=0)
    by_tag = {(tag.tag, tag.difference.facts.name): tag for tag in found.tags}
    assert len(by_tag) == 122
    assert by_tag["t1", "lpips"].difference.sure
    assert by_tag["t1", "lpips"].difference.family == 122
    assert {tag.tag for tag in found.tags if tag.too_few} == {"few"}
    text = comparison_text(found)
    assert "few (5)°" in text
    assert "t1 (48) " in text
    assert "° fewer than 8 prompts: no full mark is possible" in text


def test_other_seeds_are_allowed_and_noted(tmp_path: Path) -> None:
    found = compare(make(tmp_path, "base", seed=1, prompts=4), make(tmp_path, "base", seed=2, prompts=4))
    assert found.notes[0].startswith("seeds differ (base@")
    assert found.notes[0].endswith("): paired by prompt, not on the same noise")
    assert "@" in found.a


def test_metrics_of_one_side_are_named(tmp_path: Path) -> None:
    found = compare(make(tmp_path, "base", prompts=4), make(tmp_path, "refl", prompts=4, metrics=("lpips",)))
    assert list(found.table["metric"]) == ["lpips"]
    assert "fid" in found.notes[0]


def test_not_comparable_and_ambiguous(tmp_path: Path) -> None:
    a, b = make(tmp_path, "base", prompts=4), make(tmp_path, "refl", prompts=5)
    with pytest.raises(NotComparableError, match="prompts differ"):
        compare(a, b)
    with pytest.raises(UsageError, match="contains 2 runs"):
        compare(tmp_path, a)


def test_the_module_can_be_called_like_its_function(tmp_path: Path) -> None:
    a, b = make(tmp_path, "base", prompts=2), make(tmp_path, "refl", prompts=2)
    assert bench.compare(a, b).a == "base"  # type: ignore[operator]
