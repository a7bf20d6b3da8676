"""Fronts, prices, sweeps and over-optimisation where some values are missing: never better for what is not there."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.tradeoff import at_equal_reward, index_difference, over_optimisation, pairs_of, price, verdicts_of
from bench.analysis.tradeoff.front_verdicts import DOMINATED, ON, UNDECIDED
from bench.store.records import ScoreRow
from bench.store.run_store import RunStore
from bench.store.runs import Run, read_run

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
PROMPTS, SAMPLES = 32, 4
QUALITY = ["pickscore", "image_reward"]


def run_of(
    folder: Path,
    method: str,
    means: dict[str, float],
    lost: dict[str, float] | None = None,
    trained_on: tuple[str, ...] = (),
) -> Run:
    """Values with the prompts' own level; of `lost` metrics the worst share is NaN."""
    options = {"prompts": PROMPTS, "samples": SAMPLES, "metrics": (), "trained_on": list(trained_on)}
    store: RunStore = fakes["make"](folder, method, **options)
    for number, (metric, mean) in enumerate(means.items()):
        width = SAMPLES if fakes["CARDS"][metric]["kind"] == "image" else 1
        shared = np.random.default_rng([1, number]).normal(size=(PROMPTS, 1))
        own = np.random.default_rng([7, ord(method[0]), number]).normal(size=(PROMPTS, width))
        values = mean + shared + 0.3 * own
        share = (lost or {}).get(metric, 0.0)
        if share:
            values[values < np.quantile(values, share)] = math.nan
        rows = [
            ScoreRow(f"p{p:04d}", s if width > 1 else None, float(value), "x" if math.isnan(value) else None)
            for p, row in enumerate(values)
            for s, value in enumerate(row)
        ]
        store.append_scores(metric, rows, fakes["card"](metric))
    return read_run(store)


def both(quality: float, diversity: float) -> dict[str, float]:
    return {"pickscore": quality, "lpips": diversity}


def verdicts(runs: list[Run]) -> dict[str, str]:
    pairs = pairs_of(runs)
    return verdicts_of(pairs, pairs.methods, ("pickscore", "lpips"))


def test_a_method_is_not_on_the_front_for_what_was_not_scored(tmp_path: Path) -> None:
    """Without its worst values refl only seems to be the better one in quality."""
    base = run_of(tmp_path, "base", both(1.0, 1.0))
    whole = run_of(tmp_path / "w", "refl", both(1.0, -1.0))
    short = run_of(tmp_path / "s", "refl", both(1.0, -1.0), {"pickscore": 0.4})
    mean = {run.path.parent: float(np.nanmean(run.rows("pickscore")["value"])) for run in (base, short)}
    assert mean[short.path.parent] > mean[base.path.parent] + 0.5
    assert verdicts([base, whole])["refl"] != ON
    assert verdicts([base, short])["refl"] != ON
    assert verdicts([base, short])["base"] in (ON, UNDECIDED)


def test_a_method_is_not_dominated_for_what_was_not_scored(tmp_path: Path) -> None:
    base = run_of(tmp_path, "base", both(1.0, 1.0))
    worse = run_of(tmp_path, "refl", both(0.5, 0.5))
    assert verdicts([base, worse]) == {"base": ON, "refl": DOMINATED}
    lucky = run_of(tmp_path / "l", "base", both(1.0, 1.0), {"pickscore": 0.5, "lpips": 0.5})
    assert verdicts([lucky, worse])["refl"] == UNDECIDED


def test_few_gaps_leave_a_clear_verdict(tmp_path: Path) -> None:
    base = run_of(tmp_path, "base", both(3.0, 3.0), {"pickscore": 0.03})
    worse = run_of(tmp_path, "refl", both(0.0, 0.0))
    assert verdicts([base, worse]) == {"base": ON, "refl": DOMINATED}


@pytest.mark.parametrize("side", ["base", "refl"])
def test_limits_of_over_optimisation_hold_whatever_is_missing(tmp_path: Path, side: str) -> None:
    """The whole data are one of the cases that the missing values may be: their estimate lies within the limits."""
    means = {"base": dict.fromkeys(QUALITY, 0.0), "refl": dict(zip(QUALITY, (0.25, 0.1), strict=True))}

    def found(folder: Path, share: float) -> Any:
        lost = {"image_reward": share}
        base = run_of(folder, "base", means["base"], lost if side == "base" else None)
        refl = run_of(folder, "refl", means["refl"], lost if side == "refl" else None, ("pickscore",))
        (one,) = over_optimisation([base, refl], ["base", "refl"], "base")
        return one

    whole, short = found(tmp_path / "whole", 0.0), found(tmp_path / "short", 0.02)
    assert whole.gaps == ""
    assert "scored on one side only: limits hold with the worst case there" in short.gaps
    for name in ("in_gain", "held_out_gain", "difference", "index"):
        a, b = getattr(whole, name), getattr(short, name)
        assert b.low <= a.mean <= b.high, name
        assert b.high - b.low > a.high - a.low or name == "in_gain", name


def test_an_index_is_undecided_where_the_gain_may_not_be_one(tmp_path: Path) -> None:
    base = run_of(tmp_path, "base", dict.fromkeys(QUALITY, 0.0))
    slight = dict(zip(QUALITY, (0.25, 0.1), strict=True))
    whole = run_of(tmp_path, "refl", slight, None, ("pickscore",))
    (one,) = over_optimisation([base, whole], ["base", "refl"], "base")
    assert math.isfinite(one.index.mean)
    short = run_of(tmp_path / "s", "refl", slight, {"pickscore": 0.2}, ("pickscore",))
    (other,) = over_optimisation([base, short], ["base", "refl"], "base")
    assert math.isnan(other.index.mean)
    assert str(other.index.reason).endswith("with the worst case in what is scored on one side only")
    assert math.isnan(index_difference(one, other).mean)


def test_differences_of_indices_with_gaps_have_no_limits(tmp_path: Path) -> None:
    base = run_of(tmp_path, "base", dict.fromkeys(QUALITY, 0.0))
    high = dict(zip(QUALITY, (0.25, 0.1), strict=True))
    refl = run_of(tmp_path, "refl", high, None, ("pickscore",))
    draft = run_of(tmp_path, "draft", high, {"image_reward": 0.02}, ("pickscore",))
    a, b = over_optimisation([base, refl, draft], ["base", "refl", "draft"], "base")
    difference = index_difference(a, b)
    assert math.isfinite(difference.mean)
    assert math.isnan(difference.low)
    assert str(difference.reason).startswith("undecided: ")


def test_a_price_holds_whatever_is_missing(tmp_path: Path) -> None:
    base = run_of(tmp_path, "base", both(0.0, 1.0))
    whole = run_of(tmp_path / "w", "refl", both(2.0, 0.5))
    short = run_of(tmp_path / "s", "refl", both(2.0, 0.5), {"lpips": 0.1})
    a, b = (price(pairs_of([base, one]), "refl", "base", "pickscore", "lpips") for one in (whole, short))
    assert b.low <= a.mean <= b.high
    assert "scored on one side only" in str(b.reason)
    gone = run_of(tmp_path / "g", "refl", both(0.3, 0.5), {"pickscore": 0.4})
    c = price(pairs_of([base, gone]), "refl", "base", "pickscore", "lpips")
    assert math.isnan(c.mean)
    assert "did not rise significantly" in str(c.reason)


def test_a_sweep_is_not_better_for_what_was_not_scored(tmp_path: Path) -> None:
    reference = run_of(tmp_path, "base", both(1.0, 1.0))
    poor = run_of(tmp_path, "combined[switch_step=20]", both(1.4, 1.0), {"lpips": 0.5})
    rich = run_of(tmp_path, "combined[switch_step=30]", both(0.6, 1.2))
    pairs = pairs_of([reference, poor, rich])
    found = at_equal_reward(pairs, list(pairs.methods[1:]), "base", "pickscore", "lpips")
    assert not found.difference.excludes_zero
