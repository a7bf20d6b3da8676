"""A whole study: judged by task, with and without the marked raters, and everything that is left out is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import MissingError, UsageError
from bench.study.ballots import ballots
from bench.study.findings import findings, read_findings
from bench.study.people import people_of
from bench.study.winrates import win_rates
from tests.unit.bench.study.made import METHODS, items_of, simulated, with_checks, write_study


def test_marked_raters_are_kept_and_results_are_given_without_them() -> None:
    votes, items = with_checks(simulated(raters=20, spammers=4), spammers=4)
    found = findings(votes, items)
    task = found.tasks["preference"]
    assert task.judged.pairs == tuple(win_rates(ballots(votes)))
    assert task.without_marked is not None
    rest = [vote for vote in votes if vote.rater not in ("r16", "r17", "r18", "r19")]
    assert [one.rate.mean for one in task.without_marked.pairs] == pytest.approx(
        [one.rate.mean for one in win_rates(ballots(rest))]
    )
    (note,) = found.notes
    assert note.startswith("4 raters of 20 more likely answered without looking: r16, r17, r18, r19; share")


def test_nobody_marked_means_no_second_result() -> None:
    found = findings(*with_checks(simulated(raters=12)))
    assert found.tasks["preference"].without_marked is None
    assert found.notes == ()


def test_tasks_are_judged_apart_and_in_order() -> None:
    votes = [*simulated(task="diversity", seed=3), *simulated()]
    found = findings(votes, items_of(votes))
    assert list(found.tasks) == ["preference", "diversity"]
    assert found.tasks["diversity"].judged.pairs == tuple(win_rates(ballots(votes, "diversity")))


def test_undecided_pairs_have_the_votes_that_would_decide() -> None:
    found = findings(simulated(quality=(0.0, 0.1, 3.0), raters=16), {}).tasks["preference"]
    assert set(found.needed) == {("base", "refl")}
    assert found.needed["base", "refl"].votes > found.judged.pairs[1].votes


def test_duplicates_and_pairs_that_never_met_are_said() -> None:
    votes = simulated()
    some = [vote for vote in votes if (vote.method_a, vote.method_b) != ("base", "imagerefl")]
    found = findings([*some, some[0]], {})
    assert any("1 second answer to one item left out" in note for note in found.notes)
    assert any("never compared: base and imagerefl" in note for note in found.notes)


def test_an_adaptive_study_is_said_and_weighted() -> None:
    votes = [replace(vote, chance=0.2 + 0.1 * (n // 3 % 3)) for n, vote in enumerate(simulated())]
    found = findings(votes, {})
    assert found.tasks["preference"].adaptive
    assert any("adaptive study" in note for note in found.notes)
    plain = findings(simulated(), {}).tasks["preference"].judged
    assert found.tasks["preference"].judged.pairs[0].rate.mean != plain.pairs[0].rate.mean


def test_no_strengths_are_said() -> None:
    votes = [replace(vote, outcome=1.0) for vote in simulated(quality=(0.0, 0.1))]
    found = findings(votes, {})
    assert any("base never lost" in note for note in found.notes)
    assert math.isnan(found.tasks["preference"].judged.strengths.strengths[0].mean)


def test_only_practice_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    practice = [replace(vote, kind="practice") for vote in simulated()]
    with pytest.raises(UsageError, match="no votes to judge"):
        read_findings(write_study(tmp_path / "study", practice))
    with pytest.raises(MissingError, match="is no study"):
        read_findings(tmp_path)


def test_a_run_that_is_gone_is_said(tmp_path: Path) -> None:
    rows = [{"name": name, "run": f"{name}@12345678", "path": str(tmp_path / "gone")} for name in METHODS]
    folder = write_study(tmp_path / "study", simulated(), methods=rows)
    found = read_findings(folder, tmp_path)
    assert sum("was not found, so that metrics are not compared" in note for note in found.notes) == 3
    assert found.tasks["preference"].metrics == ()
    assert found.runs["refl"] == "refl@12345678"


def test_claims_and_the_gate_hear_that_raters_were_simulated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    votes = [replace(vote, source="simulated") for vote in simulated()]
    people_of(write_study(tmp_path / "study", votes))
    assert [one.levelname for one in caplog.records] == ["WARNING"] * len(caplog.records)
    assert any("120 of 120 answers are simulated: no person gave them" in one.message for one in caplog.records)


def test_people_answer_by_metric_method_and_other(tmp_path: Path) -> None:
    people = people_of(write_study(tmp_path / "study", simulated()))
    assert people is not None
    pair = people.findings.tasks["preference"].judged.pairs[1]
    rate, why = people.win_rate("human_preference", "refl", "base")
    assert rate is not None
    assert (why, rate.mean, rate.low) == ("", pytest.approx(1 - pair.rate.mean), pytest.approx(1 - pair.rate.high))
    over_all, _ = people.win_rate("human_preference", "refl")
    assert over_all == people.findings.tasks["preference"].judged.methods["refl"]
    for metric, method, over, told in (
        ("human_diversity", "refl", "", "no votes of the task diversity"),
        ("human_preference", "draft", "", "no votes on draft, only on base, imagerefl, refl"),
        ("human_preference", "refl", "draft", "no votes on draft"),
    ):
        nothing, why = people.win_rate(metric, method, over)
        assert nothing is None
        assert told in why
    assert people_of(None) is None
