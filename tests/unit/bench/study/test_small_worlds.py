"""Studies that nothing was tuned to: every number has an interval or a reason, and none is absurd."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.analysis.stats import Interval
from bench.reporting.study_rows import finding_rows
from bench.reporting.study_tables import text
from bench.study.agreement import alpha
from bench.study.ballots import ballots
from bench.study.findings import findings
from bench.study.metric_agreement import measured
from bench.study.strengths import strengths
from bench.study.votes import Vote
from tests.unit.bench.study.made import METHODS, items_of, simulated

PAIRS = list(itertools.combinations(METHODS, 2))


def vote(rater: str, prompt: str, a: str, b: str, outcome: float, left: str = "") -> Vote:
    return Vote(f"{prompt}-{a}-{b}", "preference", rater, prompt, a, b, outcome, left or a, 0, 2.0)


def world(raters: str, prompts: str, seed: int = 0, outcome: float | None = None) -> list[Vote]:
    """Everybody answers everything, at random or with one outcome."""
    rng = np.random.default_rng(seed)
    cells = itertools.product(raters, prompts, PAIRS)
    return [
        vote(r, p, a, b, float(rng.choice([0.0, 0.5, 1.0])) if outcome is None else outcome, str(rng.choice([a, b])))
        for r, p, (a, b) in cells
    ]


CYCLE = [replace(one, outcome=0.0 if one.method_b == "imagerefl" == one.method_b and one.method_a == "base" else 1.0)
         for one in world("xyzw", "abcdef", outcome=1.0)]  # fmt: skip
DOMINANT = [
    *world("x", "".join(map(chr, range(97, 123)))),
    *(vote(f"o{i}", "a", "base", "refl", i % 2) for i in range(5)),
]
WORLDS = {
    "2 raters, 3 prompts": world("xy", "abc"),
    "all ties": world("xyzw", "abcdef", outcome=0.5),
    "one always wins": world("xyzw", "abcdef", outcome=1.0),
    "one rater": world("x", "abcdef"),
    "one vote": [vote("x", "a", "base", "refl", 1.0)],
    "one rater with nearly all votes": DOMINANT,
    "a perfect cycle": CYCLE,
    "two votes on a pair": [*simulated(quality=(0.0, 0.6)), vote("r00", "p0", "refl", "imagerefl", 1.0)],
}


def intervals(row: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(row, dict):
        if "ci_low" in row:
            yield path, row
        for key, value in row.items():
            yield from intervals(value, f"{path}/{key}")
    elif isinstance(row, list):
        for number, value in enumerate(row):
            yield from intervals(value, f"{path}/{number}")


@pytest.mark.parametrize("name", list(WORLDS))
def test_every_number_has_an_interval_with_room_or_a_reason(name: str) -> None:
    found = findings(WORLDS[name], items_of(WORLDS[name]))
    shown = text(found)
    assert "nan" not in shown
    assert "inf" not in shown
    rows = list(intervals(finding_rows(found)["tasks"]))
    assert len(rows) >= 5
    for path, row in rows:
        if row["ci_low"] is None:
            assert row["reason"], f"{path} has neither an interval nor a reason"
            continue
        assert row["ci_low"] <= row["mean"] <= row["ci_high"], path
        assert row["ci_high"] - row["ci_low"] > 1e-6, f"{path} is called certain"
        low, high = (-math.inf, math.inf) if "strength" in path else (-1, 1) if "alpha" in path else (0, 1)
        assert low <= row["ci_low"] <= row["ci_high"] <= high, path


def test_strengths_without_variance_have_no_interval_of_no_width() -> None:
    found = strengths(ballots(CYCLE, methods=METHODS))
    assert [one.mean for one in found.strengths] == pytest.approx([0, 0, 0], abs=1e-9)
    assert all(math.isnan(one.low) and "all alike" in one.reason for one in found.strengths)
    assert found.ranks == ((1, 3),) * 3


def test_a_method_that_one_rater_saw_has_a_strength_without_an_interval() -> None:
    found = strengths(ballots(DOMINANT, methods=METHODS))
    by_name = dict(zip(found.methods, found.strengths, strict=True))
    assert "a single rater" in by_name["imagerefl"].reason
    assert math.isfinite(by_name["base"].low)
    assert not found.better[2][0]
    assert not found.better[0][2]


def test_who_gave_nearly_all_votes_is_said() -> None:
    share = 100 * 78 / 83
    (note,) = [one for one in findings(DOMINANT, {}).notes if "rest on that one" in one]
    assert note.startswith(f"preference: {share:.0f} % of the votes are of the rater x: intervals over raters")
    assert not [one for one in findings(simulated(), {}).notes if "rest on that one" in one]


def test_when_all_look_like_spammers_nobody_is_one_for_certain() -> None:
    found = findings(DOMINANT, {})
    if len(found.raters.marked) == len(found.raters.raters):
        assert "nobody is left to give results without them" in "\n".join(found.notes)
    few = [one.spam for one in found.raters.raters if one.votes == 1]
    assert max(few) < 0.9


def test_alpha_stays_above_minus_one() -> None:
    found: Interval = alpha(ballots(WORLDS["2 raters, 3 prompts"]))
    assert -1 <= found.low <= found.mean <= found.high <= 1


def test_calibration_leaves_out_what_a_metric_holds_for_equal() -> None:
    votes = simulated(raters=10, prompts=20)
    own = ballots(votes, methods=METHODS)
    d = np.where(own.prompts % 2 == 0, 0.0, np.where(own.a == 0, -1.0, 1.0) * (1 + own.prompts))
    found = measured(own, d, "m", "preference", items_of(votes))
    equal = int((own.prompts % 2 == 0).sum())
    assert found.equal == equal
    assert sum(one.observed.n for one in found.bins) == len(own) - equal
    assert all(one.observed.mean != 0.5 for one in found.bins)
    decided = own.y != 0.5
    right = np.where(d == 0, 0.5, (d > 0) == (own.y == 1))[decided]
    assert found.accuracy.mean == pytest.approx(float(right.mean()))
