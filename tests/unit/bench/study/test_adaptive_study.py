"""Adaptive studies from end to end: what is drawn when, what is kept with a vote, and what is made of it."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.study
from bench.errors import UsageError
from bench.study import adaptive, winrates
from bench.study.adaptive import FLOOR, planned_looks
from bench.study.findings import findings, read_findings
from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.orders import Orders
from bench.study.sessions import Sessions
from bench.study.store import VoteStore, open_votes
from bench.study.votes import read_items, read_votes
from tests.unit.bench.study.conftest import METHODS, RUNS
from tests.unit.bench.study.made import METHODS as NAMES
from tests.unit.bench.study.made import simulated, write_study

PER_RATER = 8


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adaptive study of both tasks: 4 items of each a rater."""
    out = tmp_path_factory.mktemp("adaptive") / "study"
    runs = [RUNS / name for name in METHODS]
    bench.study.make(runs, out, task="both", per_rater=PER_RATER, votes=20, adaptive=True, seed=11)
    return out


def real(study: Study, order: Any) -> list[Any]:
    return [one for one in order if study.items[one.item].kind == "real"]


def test_a_rater_is_drawn_for_at_consent_and_keeps_the_order(
    study: Study, rater: Callable[..., Any], votes: VoteStore
) -> None:
    one = rater(consent=False)
    before = one.state()
    assert (before["consented"], before["total"]) == (False, study.total("r0001"))
    assert votes.orders() == {}
    one.post("/consent")
    first, kept = one.state(), votes.order("r0001")
    assert first["total"] == study.total("r0001") == len(json.loads(kept))
    assert one.state() == first
    assert Orders(study, votes).of("r0001") == Orders(study, votes).begun("r0001")
    assert votes.order("r0001") == kept


def test_every_vote_is_stored_with_the_chance_of_its_pair(study: Study, rater: Callable[..., Any]) -> None:
    one = rater()
    state = one.state()
    while state["item"] is not None:
        assert one.get(f"/picture/{state['item']['left']}").status_code == 200
        state = one.vote("left", state["item"]["id"]).json()["state"]
    assert state["code"]
    votes = read_votes(study.folder)
    assert Counter(vote.kind for vote in votes) == {"practice": 4, "real": 8, "check": 4, "repeat": 1}
    assert all(vote.chance == pytest.approx(1 / 3) for vote in votes if vote.kind == "real")
    assert all(math.isnan(vote.chance) for vote in votes if vote.kind != "real")
    pairs = Counter((vote.task, vote.method_a, vote.method_b) for vote in votes if vote.kind == "real")
    assert set(pairs.values()) <= {1, 2}, "four places over three pairs"


def test_items_and_sides_are_balanced_within_a_pair(study: Study, votes: VoteStore) -> None:
    orders = Orders(study, votes)
    shown = [one for rater in list(study.plan)[:30] for one in real(study, orders.of(rater))]
    assert len({one.item for one in shown}) == 24
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for one in shown:
        item = study.items[one.item]
        counts.setdefault((item.task, item.method_a, item.method_b), Counter())[one.item] += 1
    assert all(max(own.values()) - min(own.values()) <= 1 for own in counts.values())
    sides = Counter((one.item, one.a_left) for one in shown)
    assert all(abs(sides[item, True] - sides[item, False]) <= 1 for item in {one.item for one in shown})


def decide(study: Study, votes: VoteStore, winner: str) -> int:
    """Answer for raters, always for one method of the preference task, until its pairs are decided; raters asked."""
    orders = Orders(study, votes)
    sessions = Sessions(study, Keys.of(study.folder, study.plan), votes)
    for number, rater in enumerate(study.plan, 1):
        sessions.consent(rater)
        state = sessions.state(rater)
        for one in sessions.orders.of(rater):
            item = study.items[one.item]
            left, right = (item.method_a, item.method_b) if one.a_left else (item.method_b, item.method_a)
            choice = "left" if left == winner else "right" if right == winner else "tie"
            sessions.answer(rater, {"item": state["item"]["id"], "choice": choice, "seconds": 1.0})
            state = sessions.state(rater)
        if orders.decided()["preference"][0] == 2:
            return number
    raise AssertionError("never decided")


def test_decided_pairs_get_the_floor_and_the_report_says_how(
    study: Study, votes: VoteStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study.adaptive is not None
    study.adaptive["looks"] = {"preference": [24], "diversity": [24]}
    (study.folder / "study.json").write_text(json.dumps(study.manifest))
    for module in (adaptive, winrates):
        monkeypatch.setattr(module, "ALPHA", 0.5)  # 4 prompts never decide at 5 %
    asked = decide(study, votes, "refl")
    orders = Orders(study, votes)
    later = [one for rater in list(study.plan)[asked : asked + 10] for one in real(study, orders.of(rater))]
    own = [(study.items[one.item], one.chance) for one in later if study.items[one.item].task == "preference"]
    tie = {chance for item, chance in own if "refl" not in (item.method_a, item.method_b)}
    rest = {chance for item, chance in own if "refl" in (item.method_a, item.method_b)}
    assert list(tie) == pytest.approx([1 - FLOOR * 2 / 3])
    assert list(rest) == pytest.approx([FLOOR / 3])
    found = read_findings(study.folder, metrics=False)
    task = found.tasks["preference"]
    assert task.adaptive
    assert {one.winner for one in task.judged.pairs} == {"refl", ""}
    assert task.judged.strengths.ranks[task.judged.strengths.methods.index("refl")] == (1, 1)
    assert any("decided at looks planned beforehand" in note for note in found.notes)
    assert (task.looks, task.taken) == ((24,), 1)
    keys = Keys.of(study.folder, study.plan)
    page = client.get(f"/admin/{keys.admin()}").text
    assert "preference: 2 of 3 pairs decided" in page
    assert "refl" not in page


@pytest.mark.slow
def test_a_simulation_through_the_server_is_the_same_again(study: Study, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(study.folder, twin)
    for folder in (study.folder, twin):
        bench.study.simulate(folder, raters=3, seed=5)
    assert read_votes(twin) == read_votes(study.folder)
    assert sum(math.isfinite(vote.chance) for vote in read_votes(twin)) == 3 * PER_RATER


def test_forgetting_takes_the_order_along(study: Study, votes: VoteStore) -> None:
    bench.study.simulate(study.folder, raters=2)
    assert bench.study.forget(study.folder, "r0001") == study.total("r0001")
    assert set(votes.orders()) == {"r0002"}
    assert Orders(study, votes).of("r0001") == (), "a page that is still open draws nothing again"
    assert set(votes.orders()) == {"r0002"}


def test_a_bundle_is_drawn_when_it_is_exported_and_its_answers_have_chances(study: Study, votes: VoteStore) -> None:
    (file,) = bench.study.export(study.folder, "bundle", study.folder / "bundles", raters=1)
    keys = Keys.of(study.folder, study.plan)
    order = Orders(study, votes).begun("r0001")
    assert len(order) == study.total("r0001")
    text = file.read_text()
    assert all(keys.item("r0001", one.item) in text for one in order)
    answers = [{"item": keys.item("r0001", one.item), "choice": "left", "seconds": 2.0} for one in order]
    given = study.folder / "answers.json"
    given.write_text(json.dumps({"bench_study": 1, "study": study.id, "rater": "r0001", "answers": answers}))
    assert bench.study.import_answers(study.folder, given).stored == len(order)
    read = [vote.chance for vote in read_votes(study.folder) if vote.kind == "real"]
    assert read == pytest.approx([1 / 3] * PER_RATER)


def test_label_studio_has_no_chances_and_is_refused(study: Study) -> None:
    with pytest.raises(UsageError, match="Label Studio shows all items to everybody"):
        bench.study.export(study.folder, "label-studio", study.folder / "tasks.json")


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_needs_a_chance_for_every_vote(study: Study, tmp_path: Path) -> None:
    items = [item.item for item in study.items.values() if item.kind == "real"]
    chances = ["0.25", "", "7", "soon"]
    rows = [{"rater": "p", "item": i, "choice": "a", "chance": c} for i, c in zip(items, chances, strict=False)]
    done = bench.study.import_answers(study.folder, table(tmp_path / "votes.csv", rows))
    assert done.stored == 1
    assert done.left_out == {
        "no chance on record, which every vote of an adaptive study needs": 1,
        "a chance that is no probability above 0": 2,
    }
    assert [vote.chance for vote in read_votes(study.folder)] == [0.25]


def test_a_study_that_is_not_adaptive_takes_no_chances(tmp_path: Path) -> None:
    folder = tmp_path / "even"
    study = bench.study.make([RUNS / name for name in METHODS], folder, per_rater=6, votes=1, seed=1)
    item = next(item.item for item in study.items.values() if item.kind == "real")
    rows = [{"rater": "p", "item": item, "choice": "a", "chance": "0.5"}]
    with pytest.raises(UsageError, match="which votes of a study without --adaptive do not have"):
        bench.study.import_answers(folder, table(tmp_path / "votes.csv", rows))


def test_a_database_from_before_gets_its_column(study: Study) -> None:
    path = study.folder / "study.db"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE bench_study_votes (study TEXT NOT NULL, rater TEXT NOT NULL, item TEXT NOT NULL, choice TEXT NOT "
        "NULL, a_left INTEGER NOT NULL, position INTEGER NOT NULL, seconds DOUBLE PRECISION, stored DOUBLE PRECISION "
        "NOT NULL, source TEXT NOT NULL, PRIMARY KEY (study, rater, item))"
    )
    item = next(iter(study.items))
    old.execute("INSERT INTO bench_study_votes VALUES (?, 'r1', ?, 'left', 1, 0, 1.5, 9.0, 'web')", (study.id, item))
    old.commit()
    old.close()
    for _ in range(2):
        store = open_votes(study)
        assert [(answer.rater, answer.chance) for answer in store.answers()] == [("r1", None)]
        store.close()


def test_more_items_than_a_pair_has_are_not_asked(tmp_path: Path) -> None:
    runs = [RUNS / name for name in METHODS]
    study = bench.study.make(runs, tmp_path / "one", per_rater=30, votes=2, adaptive=True, seed=1)
    assert study.manifest["per_rater"] == 4
    assert any("all may be of one pair" in note for note in study.manifest["notes"])
    two = bench.study.make(runs[:2], tmp_path / "two", per_rater=4, votes=2, adaptive=True, seed=1)
    assert any("nothing to adapt but when to stop" in note for note in two.manifest["notes"])


def test_a_damaged_plan_of_looks_is_told(study: Study) -> None:
    manifest = json.loads((study.folder / "study.json").read_text())
    for wrong in ({"floor": 0.1}, {**manifest["adaptive"], "floor": 2.0}, {**manifest["adaptive"], "looks": {}}, [1]):
        (study.folder / "study.json").write_text(json.dumps({**manifest, "adaptive": wrong}))
        with pytest.raises(UsageError, match="'adaptive' lacks its floor, its looks or its size"):
            bench.study.open_study(study.folder)


def test_votes_with_chances_and_no_plan_are_said_to_be_for_one_look(tmp_path: Path) -> None:
    from dataclasses import replace

    votes = [replace(vote, chance=1 / 3) for vote in simulated(quality=(0.0, 0.0, 3.0), raters=16, prompts=20)]
    found = read_findings(write_study(tmp_path / "s", votes), metrics=False)
    assert any("no plan of looks on record" in note for note in found.notes)
    looks = {"preference": list(planned_looks(len(votes), 3).votes)}
    planned = findings(votes, read_items(tmp_path / "s"), {"methods": NAMES, "adaptive": {"looks": looks}})
    once, often = found.tasks["preference"].judged, planned.tasks["preference"].judged
    assert [one.rate for one in once.pairs] == [one.rate for one in often.pairs]
    assert all(a.p_holm < b.p_holm for a, b in zip(once.pairs, often.pairs, strict=True) if a.winner)
    assert np.isnan([one.p for one in often.pairs]).all()
