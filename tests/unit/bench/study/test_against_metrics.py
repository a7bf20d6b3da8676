"""Metrics against votes: each number against a plain computation, on runs whose scores are known."""

from __future__ import annotations

import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from bench.store.runs import Run
from bench.store.select import open_runs
from bench.study.adaptive import weighted
from bench.study.against_metrics import against_metrics
from bench.study.ballots import ballots
from bench.study.ppi import ppi_mean
from bench.study.votes import Item, Vote

make = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))["make"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("against")
    for method in ("base", "refl"):
        make(folder, method, prompts=12, samples=3, metrics=("pickscore", "lpips"))
    return {run.method: run for run in open_runs(folder)[0]}


def score(run: Run, metric: str, prompt_id: str, sample: int | None) -> float:
    rows = run.rows(metric)
    rows = rows[rows["prompt_id"] == prompt_id]
    return float((rows if sample is None else rows[rows["sample"] == sample])["value"].iloc[0])


def study(runs: dict[str, Run], task: str, follow: float = 0.8) -> tuple[list[Vote], dict[str, Item]]:
    """Votes on sample 1 of the first 8 prompts, which follow the metric in a share of `follow`."""
    rng, votes, items = np.random.default_rng(0), [], {}
    metric, sample = ("pickscore", 1) if task == "preference" else ("lpips", None)
    for prompt_id, text in runs["base"].prompts[:8]:
        items[prompt_id] = Item(prompt_id, task, prompt_id, text, "base", "refl", sample)
        d = score(runs["base"], metric, prompt_id, sample) - score(runs["refl"], metric, prompt_id, sample)
        for rater in range(6):
            y = float((d > 0) == (rng.random() < follow)) if rng.random() > 0.2 else 0.5
            left = "base" if rng.random() < 0.5 else "refl"
            votes.append(Vote(prompt_id, task, f"r{rater}", prompt_id, "base", "refl", y, left, 0, 1.0))
    return votes, items


@pytest.mark.parametrize(("task", "metric", "sample"), [("preference", "pickscore", 1), ("diversity", "lpips", None)])
def test_accuracy_and_correlations_are_the_plain_ones(
    runs: dict[str, Run], task: str, metric: str, sample: int | None
) -> None:
    votes, items = study(runs, task)
    (found,) = against_metrics(ballots(votes, task), task, items, runs)
    assert found.metric == metric
    d = {p: score(runs["base"], metric, p, sample) - score(runs["refl"], metric, p, sample) for p in items}
    decided = [v for v in votes if v.outcome != 0.5]
    assert found.accuracy.mean == pytest.approx(np.mean([(d[v.item] > 0) == (v.outcome == 1) for v in decided]))
    assert 0 < found.accuracy.low < found.accuracy.mean < found.accuracy.high <= 1
    means = {p: np.mean([v.outcome for v in votes if v.item == p]) - 0.5 for p in items}
    x, y = [*d.values(), *(-v for v in d.values())], [*means.values(), *(-v for v in means.values())]
    assert found.tau.mean == pytest.approx(kendalltau(x, y).statistic)
    assert found.spearman.mean == pytest.approx(spearmanr(x, y).statistic)
    assert found.unscored == 0


def test_powered_rates_use_the_pictures_without_votes(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    (found,) = against_metrics(ballots(votes), "preference", items, runs)
    powered = found.powered["base", "refl"]
    assert (powered.n, powered.n_unlabelled) == (48, 12 * 3 - 8)
    names = [p for p, _ in runs["base"].prompts]

    def sign(prompt_id: str, k: int) -> float:
        return float(score(runs["base"], "pickscore", prompt_id, k) > score(runs["refl"], "pickscore", prompt_id, k))

    rest = [(p, k) for p in names for k in range(3) if not (p in items and k == 1)]
    expected = ppi_mean(
        [v.outcome for v in votes],
        [sign(v.prompt_id, 1) for v in votes],
        [sign(p, k) for p, k in rest],
        [v.prompt_id for v in votes],
        [p for p, _ in rest],
        [v.rater for v in votes],
    )
    assert powered.estimate.mean == pytest.approx(expected.estimate.mean)
    assert powered.estimate.low == pytest.approx(max(0.0, expected.estimate.low))
    assert powered.estimate.high <= 1


def test_a_metric_that_people_follow_is_calibrated(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    (found,) = against_metrics(ballots(votes), "preference", items, runs)
    assert sum(one.observed.n for one in found.bins) == 48
    assert [one.predicted for one in found.bins] == sorted(one.predicted for one in found.bins)
    assert all(0.5 <= one.predicted <= 1 for one in found.bins)


def test_disagreements_are_those_of_most_votes(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference", follow=0.0)
    (found,) = against_metrics(ballots(votes), "preference", items, runs)
    assert found.accuracy.mean < 0.2
    assert found.disagreements
    for one in found.disagreements:
        own = [v.outcome if one.people == "base" else 1 - v.outcome for v in votes if v.item == one.item]
        assert one.people != one.metric
        assert (one.won, one.votes) == (pytest.approx(sum(own)), len(own))
        assert sum(own) / len(own) >= 2 / 3


def test_votes_without_scores_are_left_out_and_counted(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    strange = [replace(v, item="x", prompt_id="elsewhere") for v in votes if v.item == "p0" or v.rater == "r0"][:3]
    far = Item("far", "preference", votes[0].prompt_id, "", "base", "refl", sample=99)
    more = [*votes, *strange, replace(votes[0], item="far", rater="r9")]
    counted = len({(v.rater, v.item) for v in more}) - len(votes)
    (found,) = against_metrics(ballots(more), "preference", {**items, "far": far}, runs)
    assert found.unscored == counted > 0
    assert found.accuracy.n == sum(v.outcome != 0.5 for v in votes)


def test_adaptive_votes_are_weighted_and_not_powered(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    drawn = [replace(v, chance=0.5) for v in votes]
    (found,) = against_metrics(weighted(ballots(drawn)), "preference", items, runs, adaptive=True)
    assert found.powered == {}
    assert "adaptive" in found.why_not_powered


def test_without_the_runs_nothing_is_compared(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    assert against_metrics(ballots(votes), "preference", items, {"base": runs["base"]}) == []
    assert against_metrics(ballots(votes), "preference", items, {}) == []


def test_few_prompts_have_no_correlation(runs: dict[str, Run]) -> None:
    votes, items = study(runs, "preference")
    two = [v for v in votes if v.item in list(items)[:2]]
    (found,) = against_metrics(ballots(two), "preference", items, runs)
    assert math.isnan(found.tau.mean)
    assert found.tau.reason == "fewer than three prompts"
