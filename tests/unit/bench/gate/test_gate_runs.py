"""What the gate does where values or runs are missing: unscored prompts, runs left out, several runs of a method."""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import NotComparableError, UsageError
from bench.gate.baseline import baseline_of
from bench.gate.bounds import drop_level
from bench.gate.check import check
from bench.gate.github import markdown_summary, workflow_commands
from bench.gate.junit import junit
from bench.gate.summaries import read_summary
from bench.gate.text import verdicts_text
from bench.gate.thresholds import parse_thresholds
from bench.gate.verdict import Verdict, exit_code
from bench.reporting.report import report
from bench.store.records import ScoreRow
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card, MEANS = fakes["make"], fakes["card"], fakes["MEANS"]


def scored(folder: Path, method: str, values: Mapping[int, float], prompts: int = 40, **more: Any) -> Path:
    """A run with one lpips value a prompt; prompts that are not in `values` are unscored."""
    store = make(folder, method, prompts=prompts, metrics=(), **more)
    rows = [
        ScoreRow(f"p{p:04d}", None, values.get(p, math.nan), None if p in values else "black") for p in range(prompts)
    ]
    store.append_scores("lpips", rows, card("lpips"))
    return folder


def gated(folder: Any, text: str, tmp_path: Path, baseline: dict[str, Any] | None = None) -> list[Verdict]:
    path = tmp_path / "gate.toml"
    path.write_text(text, encoding="utf-8")
    return check(folder, path, baseline)


def test_one_scored_prompt_of_many_decides_nothing(tmp_path: Path) -> None:
    folder = scored(tmp_path / "a", "base", {0: 0.9})
    (found,) = gated(folder, "[base.lpips]\nmin = 0.5\n", tmp_path)
    assert (found.status, exit_code([found])) == ("missing", 1)
    assert "was scored on one prompt of 40, too few to judge (39 of 40 values unscored)" in found.message
    alone = gated(scored(tmp_path / "b", "base", {0: 0.9}, prompts=1), "[base.lpips]\nmin = 0.5\n", tmp_path)[0]
    assert (alone.status, "a single prompt carries no between-prompt variance" in alone.message) == ("undecided", True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "low", "status", "said"),
    [
        (1.0, None, "undecided", "1 (no interval) against min 0.999; all 32 prompts have the same value"),
        (0.5, None, "failed", "0.5 (no interval) against min 0.999; all 32 prompts have the same value"),
        (1.0, 0.0, "undecided", "1 [0.8908, 1] against min 0.999; about 3,500 prompts would decide"),
    ],
)
def test_values_that_are_all_the_same_pass_no_bound(
    value: float, low: float | None, status: str, said: str, tmp_path: Path
) -> None:
    """32 prompts of value 1 say nothing of a 33rd: with a range the limits of Clopper and Pearson, else no interval."""
    known = {} if low is None else {"low": low, "high": 1.0}
    for method in ("base", "refl"):
        store = make(tmp_path, method, prompts=32, metrics=())
        store.append_scores("lpips", [ScoreRow(f"p{p:04d}", None, value) for p in range(32)], card("lpips", **known))
    before = baseline_of(tmp_path)
    (found,) = gated(tmp_path, "[base.lpips]\nmin = 0.999\n", tmp_path)
    assert found.status == status
    assert said in found.message
    assert math.isnan(found.needed) == (low is None)
    (drop,) = gated(tmp_path, "[base.lpips]\nmax_drop = 0.01\n", tmp_path, before)
    assert drop.status == "undecided"
    if low is None:
        assert "drop 0 (no interval)" in drop.message
        assert "both have equal values in all pairs of 32 prompts" in drop.message
    (lead,) = gated(tmp_path, "[base.dominates]\nover = 'refl'\non = ['lpips']\nmargin = { lpips = 0.1 }\n", tmp_path)
    assert lead.status == ("failed" if low is None else "undecided")  # equal: surely better in nothing


def test_unscored_values_are_told(tmp_path: Path) -> None:
    folder = scored(tmp_path, "base", {p: 0.5 + p / 100 for p in range(30)})
    (found,) = gated(folder, "[base.lpips]\nmin = 0.1\n", tmp_path)
    assert found.status == "passed"
    assert found.message.endswith("against min 0.1; 10 of 40 values unscored")


def test_a_drop_is_not_passed_by_prompts_that_fell_out(tmp_path: Path) -> None:
    """Three prompts could not be scored any more, and may have become the worst: the others are as good as ever."""
    values = {p: 0.1 + p / 100 for p in range(40)}
    before = baseline_of(scored(tmp_path / "then", "base", values))
    now = scored(tmp_path / "now", "base", {p: value for p, value in values.items() if p < 37})
    (found,) = gated(now, "[base.lpips]\nmax_drop = 0.01\n", tmp_path, before)
    assert found.status == "undecided"
    assert "3 of 40 values unscored; 3 values are scored on one side only (worst case: 0.1 and 0.49" in found.message
    assert "not with the worst case in the rest" in found.message
    assert "0.28 before, 0.28 now" in found.message  # over the prompts that both have, as the drop is
    assert (exit_code([found]), exit_code([found], strict=True)) == (0, 1)
    worse = scored(tmp_path / "worse", "base", {p: value - 0.2 for p, value in values.items() if p < 37})
    assert gated(worse, "[base.lpips]\nmax_drop = 0.01\n", tmp_path, before)[0].status == "failed"
    fewer = baseline_of(now)
    again = gated(now, "[base.lpips]\nmax_drop = 0.01\n", tmp_path, fewer)[0]
    assert again.status == "passed"  # nothing fell out since
    both = gated(scored(tmp_path / "all", "base", values), "[base.lpips]\nmax_drop = 0.01\n", tmp_path, fewer)[0]
    assert both.status == "passed"


def test_fewer_images_of_a_prompt_are_fewer_values(tmp_path: Path) -> None:
    folders = []
    for name, lost in (("then", 0), ("now", 7)):
        store = make(tmp_path / name, "base", prompts=20, samples=2, metrics=())
        rows = [ScoreRow(f"p{i // 2:04d}", i % 2, math.nan if i % 2 and i < 2 * lost else i / 9) for i in range(40)]
        store.append_scores("pickscore", rows, card("pickscore"))
        folders.append(tmp_path / name)
    text = "[base.pickscore]\nmax_drop = 0.2\n"
    (found,) = gated(folders[1], text, tmp_path, baseline_of(folders[0]))
    assert found.status == "undecided"
    assert "7 of 40 values unscored; 7 values are scored on one side only" in found.message


def test_means_beside_a_drop_weigh_prompts_as_the_drop_does(tmp_path: Path) -> None:
    """Prompt 0 has five images then and one now: over images the mean falls by 0.5, over prompts by nothing."""
    folders = []
    for name, images in (("then", 5), ("now", 1)):
        store = make(tmp_path / name, "base", prompts=2, samples=5, metrics=())
        rows = [
            ScoreRow(f"p{p:04d}", s, math.nan if p == 0 and s >= images else 3.0 - p) for p in (0, 1) for s in range(5)
        ]
        store.append_scores("pickscore", rows, card("pickscore"))
        folders.append(tmp_path / name)
    (found,) = gated(folders[1], "[base.pickscore]\nmax_drop = 0.1\n", tmp_path, baseline_of(folders[0]))
    assert found.message.startswith("2.5 before, 2.5 now: drop 0 [0, 0] against max_drop 0.1")
    assert found.status == "undecided"
    assert found.baseline == 2.5


def test_one_prompt_in_common_decides_nothing(tmp_path: Path) -> None:
    before = baseline_of(scored(tmp_path / "then", "base", {0: 1.0, 1: 1.1}))
    now = scored(tmp_path / "now", "base", {1: 1.1, 2: 1.0})
    (found,) = gated(now, "[base.lpips]\nmax_drop = 0.5\n", tmp_path, before)
    assert (found.status, "only one prompt with the baseline" in found.message) == ("missing", True)
    scored(tmp_path / "now", "refl", {2: 0.1, 3: 0.2})
    (lead,) = gated(tmp_path / "now", "[base.dominates]\nover = 'refl'\non = ['lpips']\n", tmp_path)
    assert (lead.status, lead.message) == ("missing", "lpips shares only one prompt with refl")


def test_an_old_run_does_not_speak_for_an_unfinished_one(tmp_path: Path, said: list[str]) -> None:
    folder = tmp_path / "results"
    make(folder, "base", prompts=12, metrics=("lpips",))
    new = make(folder, "base", prompts=12, metrics=("lpips",), seed=2, status="running")
    found = gated(folder, "[base.lpips]\nmin = 0.1\n", tmp_path)
    assert [one.status for one in found] == ["missing"]  # the newest is judged, and no older one in its place
    assert f"{new.name} is not finished: finish it" in found[0].message
    assert exit_code(found) == 1
    assert f"excluded from the gate: {new.name} (not finished)" in said
    with pytest.raises(
        UsageError, match=r"base@\w+ is not finished: .*pass only the runs that the baseline should contain"
    ):
        baseline_of(folder)
    other = make(folder, "refl", prompts=12, metrics=("lpips",), status="running")
    assert len(gated(folder, "[base.lpips]\nmin = 0.1\n", tmp_path)) == 1  # no rule asks for refl
    assert f"excluded from the gate: {other.name} (not finished)" in said


def test_an_old_run_does_not_speak_for_one_that_is_not_comparable(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    for method in ("base", "refl", "combined"):
        make(folder, method, prompts=12, metrics=("lpips",))
    new = make(folder, "refl", prompts=8, metrics=("lpips",))
    found = gated(folder, "[refl.lpips]\nmin = 0.1\n[base.dominates]\nover = 'refl'\non = ['lpips']\n", tmp_path)
    assert [one.status for one in found] == ["not_comparable", "not_comparable"]
    assert all(f"{new.name} is not comparable with the other runs: prompts differ" in one.message for one in found)
    assert exit_code(found) == 3
    with pytest.raises(NotComparableError, match="prompts differ.*; pass only the runs"):
        baseline_of(folder)


def test_names_of_runs_left_out_stay_on_their_line(tmp_path: Path, said: list[str]) -> None:
    for method, sampler in (("base", "ddim"), ("refl", "x\n::stop-commands::y\x1b[2J")):
        store = make(tmp_path / "r", method, prompts=6, metrics=("lpips",))
        manifest = store.manifest()
        store.write_manifest(dataclasses.replace(manifest, identity={**manifest.identity, "sampler": sampler}))
    gated(tmp_path / "r", "[base.lpips]\nmin = 0.1\n", tmp_path)
    report(tmp_path / "r", tmp_path / "out", n_resamples=100)
    err = "\n".join(said)
    assert "excluded from the gate: refl@" in err
    assert "excluded from the report: refl@" in err
    assert not any(line.startswith("::") for line in err.splitlines())
    assert "\x1b" not in err


def test_every_run_of_the_other_method_has_to_be_beaten(tmp_path: Path) -> None:
    values = {p: 0.5 + p % 7 / 50 for p in range(40)}
    scored(tmp_path / "r", "base", values)
    for seed, shift in ((1, -0.2), (2, 0.2)):
        scored(tmp_path / "r", "refl", {p: v + shift + p % 3 / 90 for p, v in values.items()}, seed=seed)
    opened, _, _ = open_runs(tmp_path / "r")
    runs = [dataclasses.replace(run, conditions={}) for run in opened]
    text = "[base.dominates]\nover = 'refl'\non = ['lpips']\n[refl.dominates]\nover = 'base'\non = ['lpips']\n"
    for order in (runs, runs[::-1]):
        found = gated([*order], text, tmp_path)
        assert sorted(one.status for one in found[:2]) == ["failed", "passed"]
        assert sorted(one.status for one in found[2:]) == ["failed", "passed"]
        assert exit_code(found) == 1
    names = [run.name for run in runs if run.name.startswith("refl")]
    assert {one.rule for one in found[:2]} == {f"dominates {name}" for name in names}
    assert {one.who for one in found[2:]} == set(names)
    assert {one.who for one in found[:2]} == {"base"}


def test_runs_of_one_method_are_told_apart_everywhere(tmp_path: Path) -> None:
    names = [make(tmp_path / "r", "base", prompts=12, metrics=("lpips",), seed=seed).name for seed in (1, 2)]
    make(tmp_path / "r", "refl", prompts=12, metrics=("lpips",), seed=1)
    runs = sorted((tmp_path / "r" / "runs" / "shapes").iterdir())[:2]
    text = "[base.lpips]\nmin = 0.9\nmax_drop = 0.5\n"
    found = [v for run in runs for v in gated([run], text, tmp_path, baseline_of([run]))]
    assert all(one.who == "base" for one in found)
    limits = parse_thresholds(text, "t", ["base"], ["lpips"])
    assert drop_level(limits, [read_summary({"method": "base", "metrics": {}})] * 2) == pytest.approx(0.975)
    from bench.gate.bounds import verdicts

    before = [json.loads(json.dumps(baseline_of([run]))) for run in runs]
    both = verdicts(limits, [one["summaries"][0] for one in before], before[0])
    assert {one.who for one in both} == set(names)
    assert {one.level for one in both if one.rule == "max_drop"} == {0.975}
    for printed in (verdicts_text(both), markdown_summary(both, 1), workflow_commands(both), junit(both)):
        assert all(name in printed for name in names)
    assert "Intervals of the 2 drops are of 97.5 % each" in verdicts_text(both)


def test_the_other_suite_is_named(tmp_path: Path) -> None:
    make(tmp_path, "base", prompts=6, metrics=("lpips",))
    make(tmp_path, "refl", prompts=6, metrics=("lpips",), suite="other")
    (found,) = gated(tmp_path, "[base.dominates]\nover = 'refl'\non = ['lpips']\n", tmp_path)
    assert found.status == "missing"
    assert found.message == (
        "there is no finished run of method refl in suite shapes, but one in other: different suites are not compared"
    )
