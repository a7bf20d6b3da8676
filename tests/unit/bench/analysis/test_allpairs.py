"""All pairs of methods: who is surely better, letters, ranks, who may be best; order and a constant are no matter."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.allpairs import all_pairs, letters
from bench.analysis.tradeoff.pairs import pairs_of
from bench.store.runs import Run

plain = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "plain_runs.py"))["run"]
TRUTH = {"base": 0.0, "good": 2.0, "twin": 2.0, "best": 4.0}


def world(seed: int, shift: float = 0.0, prompts: int = 40) -> list[Run]:
    """Four methods in two metrics, on the same prompts."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(prompts, 1))
    return [
        plain(name, {m: shift + shared + mean + 0.3 * rng.normal(size=(prompts, 1)) for m in ("m", "n")})
        for name, mean in TRUTH.items()
    ]


def values(run: Run, metric: str) -> np.ndarray:
    rows = run.rows(metric).sort_values("prompt_id")
    return rows["value"].to_numpy()


def test_four_methods() -> None:
    found = all_pairs(pairs_of(world(0)), ["m"])[0]
    assert found.methods[0] == "best"
    assert found.methods[-1] == "base"
    assert found.maybe_best == ("best",)
    assert found.ranks == ((1, 1), (2, 3), (2, 3), (4, 4))
    assert found.letters == ("a", "b", "b", "c")
    assert found.tests == 6
    assert found.better.sum() == 5


def test_differences_and_holm_are_those_of_a_plain_computation() -> None:
    from scipy import stats

    runs = world(1)
    by_name = {run.method: run for run in runs}
    found = all_pairs(pairs_of(runs))
    tests = []  # (p of a plain paired t test, p Holm, both computed here and there)
    for one in found:
        for (i, j), difference in one.differences.items():
            gap = values(by_name[one.methods[i]], one.facts.name) - values(by_name[one.methods[j]], one.facts.name)
            assert difference.interval.mean == pytest.approx(gap.mean())
            assert difference.paired.p >= stats.ttest_1samp(gap, 0).pvalue - 1e-12  # Student's, or Hall's if larger
            tests.append((difference.p_mark, difference.p_holm))
    assert len(tests) == 12 == found[0].tests
    ordered = sorted(p for p, _ in tests)
    for p, holm in tests:
        steps = [min(1.0, (12 - k) * q) for k, q in enumerate(ordered) if q <= p]
        assert holm == pytest.approx(max(steps))


def test_order_and_names_change_nothing() -> None:
    runs = world(2)
    first = all_pairs(pairs_of(runs))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(runs))
        again = all_pairs(pairs_of([runs[i] for i in order]))
        for a, b in zip(first, again, strict=True):
            assert (a.facts.name, a.methods, a.letters, a.ranks) == (b.facts.name, b.methods, b.letters, b.ranks)
            assert [d.p_holm for d in a.differences.values()] == [d.p_holm for d in b.differences.values()]


def test_a_constant_on_all_changes_nothing() -> None:
    first, again = all_pairs(pairs_of(world(3))), all_pairs(pairs_of(world(3, shift=7.0)))
    for a, b in zip(first, again, strict=True):
        assert (a.methods, a.letters, a.ranks, a.maybe_best) == (b.methods, b.letters, b.ranks, b.maybe_best)
        for x, y in zip(a.differences.values(), b.differences.values(), strict=True):
            assert x.interval.low == pytest.approx(y.interval.low)
            assert x.p_holm == pytest.approx(y.p_holm, rel=1e-6)
        assert [mean.mean + 7 for mean in a.means] == pytest.approx([mean.mean for mean in b.means])


def test_methods_without_a_value_have_no_rank() -> None:
    runs = world(4)
    runs.append(plain("late", {"m": np.zeros((40, 1))}))
    by_metric = {one.facts.name: one for one in all_pairs(pairs_of(runs))}
    assert by_metric["n"].absent == ("late",)
    assert by_metric["m"].absent == ()
    assert len(by_metric["n"].methods) == 4


def test_few_prompts_have_no_full_mark() -> None:
    found = all_pairs(pairs_of(world(5, prompts=7)))
    assert not any(one.better.any() for one in found)
    assert all(one.maybe_best == one.methods for one in found)


def test_identical_runs_cannot_be_told_apart() -> None:
    one = plain("one", {"m": np.random.default_rng(6).normal(size=(40, 1))})
    other = plain("other", {"m": values(one, "m")[np.argsort(np.argsort([f"p{p}" for p in range(40)]))][:, None]})
    found = all_pairs(pairs_of([one, other, world(6)[3]]), ["m"])[0]
    difference = found.differences[1, 2]
    assert difference.interval.mean == 0
    assert difference.better == ""
    assert math.isfinite(difference.p_holm)


def test_letters_are_shared_exactly_by_those_that_do_not_differ() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        half = np.triu(rng.random((6, 6)) < 0.4, 1)
        different = half | half.T
        found = letters(different)
        for i in range(6):
            for j in range(6):
                if i != j:
                    assert bool(set(found[i]) & set(found[j])) != different[i, j]
