"""Answers that are given elsewhere: bundles, Label Studio, tables; and what a file may hold that is none of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import bench.study
from bench.errors import BenchError, UsageError
from bench.study.folder import Study
from bench.study.keys import Keys
from bench.study.store import open_votes
from bench.study.votes import read_votes


@pytest.fixture
def keys(study: Study) -> Keys:
    return Keys.of(study.folder, study.plan)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def bundle_data(path: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="bundle">(.*?)</script>', path.read_text(), re.S)
    assert match
    return dict(json.loads(match[1]))


def answers_of(data: Mapping[str, Any], choices: Sequence[str]) -> dict[str, Any]:
    answers = [
        {"item": item["id"], "choice": choices[i % len(choices)], "seconds": i + 0.5}
        for i, item in enumerate(data["items"])
    ]
    return {"bench_study": 1, "study": data["study"], "rater": data["rater"], "answers": answers}


def test_a_bundle_goes_out_and_its_answers_come_back(study: Study, tmp_path: Path) -> None:
    paths = bench.study.export(study.folder, "bundle", tmp_path / "out", raters=2)
    assert [path.name for path in paths] == ["study-r0001.html", "study-r0002.html"]
    text = paths[0].read_text()
    for word in ("refl", "combined", "(degraded)", "@", str(study.folder)):
        assert word not in text.replace("@media", "").replace("@ts-check", "").replace("@type", "").replace(
            "@param", ""
        ).replace("@returns", ""), word
    assert not re.search(r'(?:src|href)="(?!data:)[^"]', text), "nothing is loaded from elsewhere"
    data = bundle_data(paths[0])
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers_of(data, ["left", "right", "tie"])))
    done = bench.study.import_answers(study.folder, file)
    assert (done.rows, done.stored, done.duplicates) == (17, 17, 0)
    votes = read_votes(study.folder)
    for vote, shown in zip(votes, study.plan["r0001"], strict=True):
        won_left = {0: True, 1: False, 2: None}[vote.order % 3]
        assert vote.item == shown.item
        assert vote.outcome == (0.5 if won_left is None else float(won_left == shown.a_left))
        assert vote.rater == "r0001"
    again = bench.study.import_answers(study.folder, file)
    assert (again.stored, again.duplicates) == (0, 17)
    assert "17 duplicates" in "\n".join(again.lines())
    assert len(read_votes(study.folder)) == 17


def test_a_bundle_of_another_study_or_rater_is_told(study: Study, tmp_path: Path) -> None:
    data = bundle_data(bench.study.export(study.folder, "bundle", tmp_path / "out", raters=1)[0])
    file = tmp_path / "answers.json"
    for change, why in (({"study": "other"}, "of another study"), ({"rater": "r0002"}, "unknown item")):
        file.write_text(json.dumps({**answers_of(data, ["left"]), **change}))
        with pytest.raises(UsageError, match=f"17 rows left out: {why}"):
            bench.study.import_answers(study.folder, file)
    assert not list(open_votes(study).answers())


def test_answers_of_a_forgotten_rater_stay_out(study: Study, tmp_path: Path) -> None:
    data = bundle_data(bench.study.export(study.folder, "bundle", tmp_path / "out", raters=1)[0])
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers_of(data, ["left"])))
    bench.study.import_answers(study.folder, file)
    assert bench.study.forget(study.folder, "r0001") == 17
    with pytest.raises(UsageError, match="the rater's answers were removed"):
        bench.study.import_answers(study.folder, file)
    assert read_votes(study.folder) == []


def test_files_that_exist_are_not_overwritten(study: Study, tmp_path: Path) -> None:
    bench.study.export(study.folder, "bundle", tmp_path / "out", raters=1)
    with pytest.raises(UsageError, match="already exists"):
        bench.study.export(study.folder, "bundle", tmp_path / "out", raters=2)
    assert len(list((tmp_path / "out").iterdir())) == 1
    with pytest.raises(UsageError, match="unknown kind of export 'bundel'"):
        bench.study.export(study.folder, "bundel", tmp_path / "x")


@pytest.mark.parametrize("kind", ["prolific", "mturk"])
def test_links_of_a_platform_and_its_codes(kind: str, study: Study, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="links need --url"):
        bench.study.export(study.folder, kind, tmp_path / "links.csv")
    (path,) = bench.study.export(study.folder, kind, tmp_path / "links.csv", url="https://study.example/")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == len(study.plan)
    assert rows[0]["url"] == f"https://study.example/r/{keys.token('r0001')}"
    codes = write_csv(
        tmp_path / "export.csv",
        [{"Participant id": "x", "Completion code": code} for code in (rows[0]["completion_code"], "NONE")],
    )
    done = bench.study.import_answers(study.folder, codes)
    assert done.codes == (0, 1)
    assert "1 of nobody, 1 of raters who did not finish" in done.lines()[0]


def test_label_studio_goes_out_and_comes_back(study: Study, tmp_path: Path) -> None:
    path, config = bench.study.export(study.folder, "label-studio", tmp_path / "tasks.json")
    assert "<Pairwise" in config.read_text()
    tasks = json.loads(path.read_text())
    kinds = [item.kind for item in study.items.values()]
    assert len(tasks) == kinds.count("real") + kinds.count("check")
    assert all(task["data"]["left"].startswith("data:image/png;base64,") for task in tasks)
    result = {"from_name": "choice", "to_name": "left,right", "type": "pairwise", "value": {"selected": "left"}}
    equal = {"from_name": "equal", "to_name": "left", "type": "choices", "value": {"choices": ["About equal"]}}
    person = {"completed_by": {"id": 7, "email": "someone@example.org"}, "lead_time": 3.5}
    exported = [{"data": task["data"], "annotations": [{**person, "result": [result]}]} for task in tasks]
    exported[0]["annotations"][0]["result"] = [equal]
    exported[1]["annotations"][0]["was_cancelled"] = True
    exported[2]["annotations"][0]["result"] = []
    exported.append({"data": {"item": "nothing"}, "annotations": [{**person, "result": [result]}]})
    file = tmp_path / "export.json"
    file.write_text(json.dumps(exported))
    done = bench.study.import_answers(study.folder, file)
    assert done.stored == len(tasks) - 2
    assert dict(done.left_out) == {"skipped by the annotator": 1, "no answer: ''": 1, "unknown item": 1}
    votes = read_votes(study.folder)
    assert {vote.seconds for vote in votes} == {3.5}
    assert len({vote.rater for vote in votes}) == 1
    assert votes[0].outcome == 0.5
    for vote in votes[1:]:
        assert vote.outcome == float(vote.left == vote.method_a)
    assert 0.3 < sum(vote.left == vote.method_a for vote in votes) / len(votes) < 0.7
    stored = b"".join(p.read_bytes() for p in study.folder.glob("study.db*"))
    assert b"someone@example.org" not in stored


def test_label_studios_short_form(study: Study, tmp_path: Path) -> None:
    path, _ = bench.study.export(study.folder, "label-studio", tmp_path / "tasks.json")
    tasks = json.loads(path.read_text())
    rows = [{"item": task["data"]["item"], "annotator": 3, "choice": "right"} for task in tasks]
    rows[0]["equal"] = "About equal"
    file = tmp_path / "min.json"
    file.write_text(json.dumps(rows))
    assert bench.study.import_answers(study.folder, file).stored == len(tasks)
    assert read_votes(study.folder)[0].outcome == 0.5


def pick_rows(study: Study) -> list[dict[str, Any]]:
    items = [item for item in study.items.values() if item.kind == "real" and item.task == "preference"]
    return [
        {
            "caption": item.prompt,
            "image_0_uid": item.asset_b.removesuffix(".png"),
            "image_1_uid": item.asset_a.removesuffix(".png"),
            "model_0": item.method_b,
            "model_1": item.method_a,
            "label_0": [1.0, 0.0, 0.5][i % 3],
            "label_1": [0.0, 1.0, 0.5][i % 3],
            "has_label": True,
            "user_id": i % 2,
        }
        for i, item in enumerate(items)
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("by_uid", [True, False])
def test_tables_like_pick_a_pic(study: Study, tmp_path: Path, ending: str, by_uid: bool) -> None:
    rows = pick_rows(study)
    if not by_uid:
        rows = [{**row, "image_0_uid": "foreign", "image_1_uid": "other"} for row in rows]
    rows += [{**rows[0], "has_label": False}, {**rows[0], "label_0": 0.7}, {**rows[0]}]
    rows.append({**rows[0], "image_0_uid": "x", "caption": "unknown"})
    file = tmp_path / f"votes.{ending}"
    if ending == "csv":
        write_csv(file, rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([{**row, "jpg_0": b"x" * 99} for row in rows]), file)
    done = bench.study.import_answers(study.folder, file)
    assert (done.stored, done.duplicates) == (len(rows) - 4, 1)
    assert set(done.left_out) == {"no label", "labels that are not 1 and 0, or 0.5 twice", "unknown item"}
    assert done.sides_unknown == done.stored
    assert "drawn at random" in "\n".join(done.lines())
    votes = {vote.item: vote for vote in read_votes(study.folder)}
    items = [item for item in study.items.values() if item.kind == "real" and item.task == "preference"]
    for i, item in enumerate(items):
        assert votes[item.item].outcome == [0.0, 1.0, 0.5][i % 3]


def test_a_plain_table_by_item_and_by_names(study: Study, tmp_path: Path) -> None:
    real = [item for item in study.items.values() if item.kind == "real"]
    a, b, c, d = real[:4]
    by_item = [
        {"rater": "me", "item": a.item, "choice": "a", "left": "", "seconds": "2.5"},
        {"rater": "me", "item": b.item, "choice": b.method_b, "left": b.method_b, "seconds": ""},
        {"rater": "me", "item": c.item, "choice": "left", "left": "b", "seconds": "x"},
        {"rater": "me", "item": d.item, "choice": "left", "left": "", "seconds": ""},
        {"rater": "me", "item": d.item, "choice": "tie", "left": "nothing", "seconds": ""},
        {"rater": "", "item": d.item, "choice": "tie", "left": "", "seconds": ""},
        {"rater": "me", "item": "gone", "choice": "tie", "left": "", "seconds": ""},
    ]
    done = bench.study.import_answers(study.folder, write_csv(tmp_path / "a.csv", by_item))
    assert done.stored == 3
    assert sum(done.left_out.values()) == 4
    votes = {vote.item: vote for vote in read_votes(study.folder)}
    assert [votes[item.item].outcome for item in (a, b, c)] == [1.0, 0.0, 0.0]
    assert votes[b.item].left == b.method_b
    assert {vote.rater for vote in votes.values()} != {"me"}
    named = [
        {
            "rater": "you",
            "task": item.task,
            "prompt_id": item.prompt_id,
            "method_a": item.method_b,
            "method_b": item.method_a,
            "choice": item.method_a,
        }
        for item in real
    ]
    assert bench.study.import_answers(study.folder, write_csv(tmp_path / "b.csv", named)).stored == len(real)
    assert {v.outcome for v in read_votes(study.folder) if v.rater not in {x.rater for x in votes.values()}} == {1.0}


def test_a_name_of_half_a_character_is_a_name(study: Study, keys: Keys, tmp_path: Path) -> None:
    from bench.study.exporting import label_studio_handle

    handle = label_studio_handle(keys, next(item.item for item in study.items.values() if item.kind == "real"), True)
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"item": handle, "choice": "left", "annotator": "\ud800"}]))
    assert bench.study.import_answers(study.folder, file).stored == 1
    assert bench.study.forget(study.folder, "\ud800") == 1
    with pytest.raises(UsageError, match="unknown rater"):
        bench.study.forget(study.folder, "\udcff")


def test_a_name_in_a_file_is_forgotten_by_that_name(study: Study, tmp_path: Path) -> None:
    items = [item.item for item in study.items.values() if item.kind == "real"][:2]
    rows = [{"rater": name, "item": item, "choice": "a"} for name in ("ann@example.org", "ben") for item in items]
    file = write_csv(tmp_path / "a.csv", rows)
    bench.study.import_answers(study.folder, file)
    assert bench.study.forget(study.folder, "ann@example.org") == 2
    assert len(read_votes(study.folder)) == 2
    again = bench.study.import_answers(study.folder, file)
    assert (again.duplicates, again.left_out) == (2, {"the rater's answers were removed": 2})
    with pytest.raises(UsageError, match="unknown rater"):
        bench.study.forget(study.folder, "carl")


@pytest.mark.parametrize(
    "url",
    [
        "https://x.org/study",
        "x.org",
        "ftp://x.org",
        "https://",
        "https://me:pw@x.org",
        "https://x.org:x",
        "https://x.org?a",
    ],
)
def test_an_address_that_links_cannot_begin_with_is_refused(study: Study, tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"--url") as raised:
        bench.study.export(study.folder, "prolific", tmp_path / "a.csv", url=url)
    with pytest.raises(UsageError, match=r"--url"):
        bench.study.serve(study.folder, url=url)
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[1, 2]",
        b"null",
        b'{"bench_study": 2}',
        b'{"bench_study": 1, "answers": 3, "rater": "r0001"}',
        b"\xff\xfe\x00",
        b"a,b\n1,2\n",
        b'rater,choice,item\n"unclosed',
        b"[" * 100_000,
        b'rater,item,choice\nme,"' + b"x" * 200_000 + b'",tie\n',
        b"rater,item,choice, choice\nme,i1,tie,left\n",
        b'[{"annotations": 5}, {"annotations": [{"result": 5}, {"result": [{"value": {"choices": 5}}]}], "data": 5}]',
        b"rater,item,choice\nme,i1,tie,left\n",
    ],
)
def test_a_file_that_is_none_is_one_sentence(study: Study, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(content)
    with pytest.raises(BenchError) as raised:
        bench.study.import_answers(study.folder, file)
    assert "\n" not in str(raised.value)
    with pytest.raises(BenchError):
        bench.study.import_answers(study.folder, tmp_path / "absent.csv")


def test_foreign_answers_do_not_mix_with_simulated_ones(study: Study, tmp_path: Path) -> None:
    bench.study.simulate(study.folder, raters=1)
    item = next(iter(study.items))
    file = write_csv(tmp_path / "a.csv", [{"rater": "me", "item": item, "choice": "a"}])
    with pytest.raises(UsageError, match="simulated raters"):
        bench.study.import_answers(study.folder, file)
