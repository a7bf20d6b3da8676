"""The dagger follows the weights: one meaning and one wording in compare, report and gate."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.compare import compare
from bench.analysis.estimand import Units, pair
from bench.analysis.in_reward import dagger_line, in_reward, training_notes, with_training
from bench.analysis.noise import noise_text
from bench.analysis.table.build import build
from bench.gate.check import check, verdict_rows
from bench.reporting.comparison import comparison_text
from bench.reporting.leaderboard.record import record_of, run_of
from bench.reporting.tables import markdown, text
from bench.store.run_store import RunStore
from bench.store.runs import Run, read_run
from bench.store.select import open_runs

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make = fakes["make"]
WEIGHTS = "a" * 64


def made(folder: Path, method: str, tuned: str | None, trained_on: list[str], **options: Any) -> Run:
    means = fakes["MEANS"].get(method, fakes["MEANS"]["refl"])
    store: RunStore = make(folder, method, prompts=12, trained_on=trained_on, means=means, **options)
    manifest = store.manifest()
    manifest.identity["tuned"] = tuned
    store.write_manifest(manifest)
    return read_run(store)


def marked(folder: Path) -> dict[str, bool]:
    table = build(open_runs(folder)[0], n_resamples=50)
    return {row.name: row.in_reward("pickscore") for row in table.rows}


@pytest.mark.slow
def test_a_renamed_method_keeps_the_dagger_of_its_weights(tmp_path: Path) -> None:
    made(tmp_path, "base", None, [])
    made(tmp_path, "refl", WEIGHTS, ["pickscore"])
    made(tmp_path, "mine", f"{WEIGHTS}*0.5", [])
    made(tmp_path, "quiet", f"{WEIGHTS} without text encoders", [])
    made(tmp_path, "other", "b" * 64, ["hpsv2.1"])
    assert marked(tmp_path) == {"base": False, "refl": True, "mine": True, "quiet": True, "other": False}
    told = text(build(open_runs(tmp_path)[0], n_resamples=50))
    assert "† trained on this metric." in told
    assert "† trained on this metric." in markdown(build(open_runs(tmp_path)[0], n_resamples=50))


def test_a_method_that_runs_no_tuned_weights_has_none(tmp_path: Path) -> None:
    made(tmp_path, "base", None, [])
    made(tmp_path, "scaled", None, ["pickscore"])
    assert marked(tmp_path) == {"base": False, "scaled": False}


def test_weights_of_which_different_things_are_said(tmp_path: Path) -> None:
    runs = [made(tmp_path, "refl", WEIGHTS, ["pickscore"]), made(tmp_path, "mine", WEIGHTS, [])]
    (note,) = training_notes(runs, ["refl", "mine"])
    assert note.startswith("the same weights, said to be trained on different metrics (refl pickscore, mine nothing)")
    assert [run.trained_on for run in with_training(runs)] == [("pickscore",), ("pickscore",)]
    assert note in build(runs, n_resamples=50).notes
    assert note in compare(*runs).notes


def test_compare_names_who_was_trained(tmp_path: Path) -> None:
    base, refl = made(tmp_path, "base", None, []), made(tmp_path, "refl", WEIGHTS, ["pickscore"])
    mine = made(tmp_path, "mine", WEIGHTS, ["pickscore"])
    found = compare(base, refl)
    assert found.trained == {"pickscore": ("refl",)}
    assert "† trained on this metric: refl (PickScore (shapes))" in comparison_text(found)
    assert "refl and mine" in comparison_text(compare(refl, mine))


def test_the_gate_says_the_same(tmp_path: Path) -> None:
    made(tmp_path, "base", None, [])
    made(tmp_path, "refl", WEIGHTS, ["pickscore"])
    made(tmp_path, "mine", WEIGHTS, [])
    limits = tmp_path / "t.toml"
    limits.write_text(
        "[mine.pickscore]\nmin = -100\n[mine.lpips]\nmin = -100\n"
        '[base.dominates]\nover = "mine"\non = ["pickscore", "lpips"]\n'
    )
    outcome = check(tmp_path, limits, summary=tmp_path / "s.md")
    assert [verdict.trained for verdict in outcome] == [("pickscore",), (), ("pickscore",)]
    assert "pickscore†" in outcome.text
    assert "† trained on this metric: mine and base (pickscore)" in outcome.text
    assert "† trained on this metric" in (tmp_path / "s.md").read_text(encoding="utf-8")
    assert [row["trained"] for row in verdict_rows(outcome)["verdicts"]] == [["pickscore"], [], ["pickscore"]]


def test_official_values_have_the_dagger_of_their_metric() -> None:
    assert in_reward(["hpsv2.1"], "hpsv2.1@official")
    assert in_reward(["hpsv2.1@official"], "hpsv2.1")
    assert not in_reward(["hpsv2.1"], "hpsv2")
    assert dagger_line() == "† trained on this metric"
    assert dagger_line({"A": ["x"], "B": []}) == "† trained on this metric: x (A)"
    assert dagger_line({"A": ["x", "y", "z"]}).endswith(": x, y and z (A)")


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"a": {"seed": 1, "sampler": "s"}, "b": {"seed": 1, "sampler": "s"}}, ""),
        ({"a": {"seed": 1}}, ""),
        ({"a": {"seed": 1, "sampler": "s"}, "b": {}}, "the noise of b is not on record: "),
        ({"a": {}, "b": {}}, "the noise of a and b is not on record: "),
        ({"a": {}, "b": {}, "c": {}}, "the noise of all methods is not on record: "),
        ({"a": {"seed": 1}, "b": {"seed": 2}}, "seeds differ (a 1, b 2): "),
        ({"a": {"seed": 1, "sampler": "s"}, "b": {"seed": 1, "sampler": "t"}}, "the sampler or its version differs"),
    ],
)
def test_noise_is_said_with_one_wording(conditions: dict[str, dict[str, Any]], told: str) -> None:
    found = noise_text(conditions)
    assert found.startswith(told)
    assert bool(found) is bool(told)
    assert not found or found.endswith("paired by prompt, not on the same noise")


def test_coupled_images_are_paired_by_group() -> None:
    """Images of a prompt that depend on each other are no pairs with single images of another run."""
    base = {"seed": 1, "sampler": "s"}
    found = noise_text({"base": base, "x": {**base, "coupled": "spell"}, "y": {**base, "coupled": "particle_guidance"}})
    assert found.startswith("the images of a prompt depend on each other in x, y: paired by group (all images of a")
    plain = Units(("p", "q"), np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0, 1]), noise=("n",))
    coupled = replace(plain, values=plain.values + 1, coupled=True)
    assert pair(plain, replace(plain, values=plain.values + 1)).shared
    assert not pair(plain, coupled).shared
    assert not pair(coupled, coupled).shared
    assert pair(plain, coupled).mean == pytest.approx(1.0)


def test_without_base_the_reference_is_named(tmp_path: Path) -> None:
    made(tmp_path, "refl", WEIGHTS, ["pickscore"])
    made(tmp_path, "combined", WEIGHTS, ["pickscore"])
    table = build(open_runs(tmp_path)[0], n_resamples=50)
    assert table.reference == "refl"
    assert set(table.differences) == {"combined"}
    assert (
        "no run of method base: differences are against refl; set it with bench report --reference METHOD"
        in table.notes
    )
    assert "refl was itself tuned: over-optimisation is not judged against it" in table.notes
    assert any("against refl: all methods and metrics of this report; name the runs" in note for note in table.notes)


@pytest.mark.slow
def test_averaged_weights_are_told_apart_and_have_what_their_parts_have(tmp_path: Path) -> None:
    made(tmp_path, "base", None, [])
    made(tmp_path, "refl", WEIGHTS, ["pickscore"])
    made(tmp_path, "soup", f"soup {WEIGHTS}*0.5+{'b' * 64}*0.5 without text encoders", [])
    made(tmp_path, "mine", f"soup {'c' * 64}*0.5+{'b' * 64}*0.5", [])
    made(tmp_path, "same", f"soup {'d' * 64}*1", ["pickscore"])
    made(tmp_path, "quiet", f"soup {'d' * 64}*1 without text encoders", [])
    expected = {"base": False, "refl": True, "soup": True, "mine": False, "same": True, "quiet": True}
    assert marked(tmp_path) == expected


def test_what_a_run_searched_by_is_its_own_alone(tmp_path: Path) -> None:
    made(tmp_path, "refl", WEIGHTS, ["hpsv2.1"])
    searching = made(tmp_path, "searching", WEIGHTS, ["pickscore"])
    manifest = RunStore(searching.path).manifest()
    manifest.identity["search"] = {"kind": "best_of_n", "n": 4, "reward": "pickscore"}
    RunStore(searching.path).write_manifest(manifest)
    runs = [read_run(RunStore(one.path)) for one in open_runs(tmp_path)[0]]
    runs += [run_of(record_of(run)) for run in runs]
    found = [(run.method, run.trained_on) for run in with_training(runs)]
    assert found == [("refl", ("hpsv2.1",)), ("searching", ("hpsv2.1", "pickscore"))] * 2
    assert "searched" not in record_of(runs[0]).model_dump()  # the digests of records that are there stay
