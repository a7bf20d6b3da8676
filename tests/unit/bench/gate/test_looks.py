"""Nightly looks at one baseline, what renews a baseline, allowances that pass, and the words of the outcome."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.stats import t_quantile
from bench.errors import UsageError
from bench.gate.allowance import allowances, allowances_text
from bench.gate.baseline import baseline_of, merged, read_baseline
from bench.gate.check import check
from bench.gate.judging import judged
from bench.gate.ledger import ledger_path, look_level, spent_at
from bench.gate.thresholds import parse_thresholds
from bench.gate.verdict import drops_told
from bench.store.records import ScoreRow

fakes = runpy.run_path(str(Path(__file__).parents[3] / "data" / "judging" / "fakes.py"))
make, card = fakes["make"], fakes["card"]
NIGHTLY = '[gate]\nlooks = "nightly"\n[base.image_reward]\nmax_drop = 0.4\n'


def night(folder: Path, seed: int, fall: float = 0.0, missing: float = 0.0) -> Path:
    """A run of 32 prompts x 5 images with noise of its own; prompts are those of all nights."""
    store = make(folder, "base", prompts=32, samples=5, seed=seed, metrics=())
    rng = np.random.default_rng(seed)
    values = np.random.default_rng(0).normal(size=(32, 1)) + 0.5 * rng.normal(size=(32, 5)) - fall
    gone = values < np.quantile(values, missing)
    rows = [
        ScoreRow(f"p{p:04d}", k, float("nan") if gone[p, k] else float(v), "black" if gone[p, k] else None)
        for (p, k), v in np.ndenumerate(values)
    ]
    store.append_scores("image_reward", rows, card("image_reward"))
    return folder


def written(tmp_path: Path, text: str, baseline: Path) -> tuple[Path, Path]:
    gate, before = tmp_path / "gate.toml", tmp_path / "anchor.json"
    gate.write_text(text, encoding="utf-8")
    check(baseline, gate, before, update_baseline=True)
    return gate, before


def test_levels_of_all_looks_come_to_five_percent() -> None:
    assert sum(spent_at(look) for look in range(1, 2000)) == pytest.approx(0.05, abs=1e-4)
    assert look_level(1, 48) == pytest.approx(1 - 0.025 / 48)
    assert [look_level(look, 2, of=4) for look in (1, 4)] == pytest.approx([1 - 0.005, 1 - 0.005])


def test_looks_are_counted_beside_the_baseline(tmp_path: Path) -> None:
    gate, before = written(tmp_path, NIGHTLY, night(tmp_path / "anchor", 1))
    first = check(night(tmp_path / "n1", 2), gate, before)
    assert "Look 1 against this baseline" in first.text
    assert "Look 1 " in check(tmp_path / "n1", gate, before).text  # the same runs are the same look
    second = check(night(tmp_path / "n2", 3), gate, before)
    assert "Look 2 " in second.text
    assert second[0].level > first[0].level
    ledger_path(before).unlink()
    lost = check(night(tmp_path / "n3", 4), gate, before)
    assert "looks before that are not counted" in lost.text
    ledger_path(before).write_text("{}")
    with pytest.raises(UsageError, match="is not a ledger of looks"):
        check(tmp_path / "n3", gate, before)


def test_an_anchor_is_not_moved_by_a_good_night(tmp_path: Path) -> None:
    gate, before = written(tmp_path, NIGHTLY, night(tmp_path / "anchor", 1))
    anchor = before.read_bytes()
    refused = check(night(tmp_path / "n1", 2), gate, before, update_baseline=True)
    assert (refused.code, before.read_bytes()) == (1, anchor)
    assert "an anchor that no night moves" in refused.text or "undecided" in refused.text
    accepted = check(tmp_path / "n1", gate, before, update_baseline=True, accept=True)
    assert (accepted.code, "go on being counted after 0 looks" in accepted.text) == (0, True)


def test_renewing_the_anchor_does_not_begin_a_new_count(tmp_path: Path) -> None:
    """Else a baseline that is renewed at each good night raises a false alarm in 40 % of 60 nights."""
    gate, before = written(tmp_path, NIGHTLY, night(tmp_path / "anchor", 1))
    check(night(tmp_path / "n1", 2), gate, before)
    check(tmp_path / "n1", gate, before, update_baseline=True, accept=True)
    third = check(night(tmp_path / "n2", 3), gate, before)
    assert "Look 3 " in third.text  # the choice of a new anchor is one
    assert "was changed" not in third.text
    before.write_bytes(before.read_bytes() + b"\n")  # by hand
    fourth = check(night(tmp_path / "n3", 4), gate, before)
    assert "Look 4 " in fourth.text
    assert "The baseline was changed since the last look; looks go on being counted." in fourth.text
    assert "was changed" not in check(night(tmp_path / "n4", 5), gate, before).text


def test_a_damaged_ledger_keeps_the_anchor_as_it_is(tmp_path: Path) -> None:
    gate, before = written(tmp_path, NIGHTLY, night(tmp_path / "anchor", 1))
    anchor = before.read_bytes()
    ledger_path(before).write_text("{}")
    with pytest.raises(UsageError, match="is not a ledger of looks"):
        check(night(tmp_path / "n1", 2), gate, before, update_baseline=True, accept=True)
    assert before.read_bytes() == anchor


def test_a_drop_is_no_baseline_unless_accepted(tmp_path: Path) -> None:
    gate, before = written(tmp_path, NIGHTLY.split("\n", 2)[2], night(tmp_path / "anchor", 1))
    worse = night(tmp_path / "worse", 2, fall=2.0)
    refused = check(worse, gate, before, update_baseline=True)
    assert (refused.code, "image_reward max_drop 0.4 of base failed" in refused.text) == (1, True)
    assert check(worse, gate, before, update_baseline=True, accept=True).code == 0


def test_other_methods_stay_in_a_baseline(tmp_path: Path) -> None:
    for method in ("base", "refl"):
        make(tmp_path / "old", method, prompts=12, metrics=("lpips", "dreamsim"))
    old = baseline_of(tmp_path / "old")
    make(tmp_path / "new", "refl", prompts=12, metrics=("lpips",))
    new, removed = merged(old, baseline_of(tmp_path / "new"), tmp_path / "b.json")
    assert [one["method"] for one in new["summaries"]] == ["base", "refl"]
    assert removed == ["removes dreamsim of refl: the new run was not scored with it"]


def test_undecided_is_not_passed(tmp_path: Path) -> None:
    gate, before = written(tmp_path, "[base.image_reward]\nmax_drop = 0.01\n", night(tmp_path / "anchor", 1))
    found = check(night(tmp_path / "n", 2), gate, before, summary=tmp_path / "gate.md")
    assert (found.code, found.passed, found.undecided) == (0, False, True)
    assert "gate undecided: 1 undecided" in found.text
    assert (tmp_path / "gate.md").read_text(encoding="utf-8").startswith("## Gate undecided")


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_missing_values_never_turn_a_gate_green(tmp_path: Path, share: float) -> None:
    text = "[base.image_reward]\nmin = 0.1\nmax_drop = 0.05\n"
    gate, before = written(tmp_path, text.split("\n")[0] + "\nmax_drop = 0.05\n", night(tmp_path / "anchor", 1))
    gate.write_text(text, encoding="utf-8")
    found = check(night(tmp_path / "n", 1, missing=share), gate, before)
    assert "passed" not in {verdict.status for verdict in found}
    assert all("unscored" in verdict.message for verdict in found)
    mended = check(tmp_path / "anchor", gate, json.loads(json.dumps(baseline_of(tmp_path / "n"))))
    assert mended[1].status == "undecided"  # and no drop of what could not be scored before


def test_the_level_of_a_look_is_told_with_the_number_of_its_lines(tmp_path: Path) -> None:
    """Two lines that share what the second look may spend were once called twelve drops of 95 % together."""
    gate, before = written(tmp_path, f"{NIGHTLY}min = -9\n", night(tmp_path / "a", 1))
    check(night(tmp_path / "b", 2), gate, before)
    found = check(night(tmp_path / "c", 3), gate, before)
    assert [one.shared for one in found] == [2, 0]
    assert "Intervals of the 2 lines at this look are of 99.58 % each, so of 99.17 % together." in drops_told(found)


def test_the_allowance_that_passes_is_known_beforehand(tmp_path: Path) -> None:
    before = read_baseline(written(tmp_path, "[base.image_reward]\nmax_drop = 0.4\n", night(tmp_path / "a", 1))[1])
    found = judged(night(tmp_path / "n", 2), tmp_path / "gate.toml", before)
    (one,) = allowances(found.limits, found.summaries, before)
    assert 0.1 < one.needed < 0.3
    (rule,) = found.limits.bounds
    two = replace(found.limits, rules=(rule, replace(rule, rule="max_drop_percent")))
    both = allowances(two, found.summaries, before)
    assert (one.lines, [line.lines for line in both]) == (1, [2, 2])
    t = [t_quantile(q, 31) for q in (0.975, 0.9, 1 - 0.05 / 4, 0.9**0.5)]  # 5 % and 90 % of one line, and of two
    assert both[0].needed / one.needed == pytest.approx((t[2] + t[3]) / (t[0] + t[1]), rel=0.05)
    assert "all 2 lines pass together with 90% probability" in allowances_text(both)
    text = f"[base.image_reward]\nmax_drop = {one.needed}\n"
    limits = parse_thresholds(text, "t", ["base"], ["image_reward"])
    assert limits.looks == "once"
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    nights = [check(night(tmp_path / f"n{seed}", seed), tmp_path / "gate.toml", before) for seed in range(3, 23)]
    assert sum(night.passed for night in nights) >= 15
