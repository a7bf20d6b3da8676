"""`bench agreement`: forms of votes, each number against a plain computation, and what is left out is told."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kendalltau, spearmanr

import bench
import metrics
from bench.cli import main
from bench.errors import MissingError, UsageError
from bench.study.vote_tables import TableVote, read_table
from metrics.images import to_pil


class Grey:
    """The mean of all pixels, or its negative."""

    def __init__(self, card: metrics.Card, sign: float) -> None:
        self.card, self.sign = card, sign

    @classmethod
    def load(cls, facts: metrics.Facts, request: metrics.Request) -> Grey:
        card = metrics.Card(facts, request.label, source="none", weights={}, settings={}, libraries={})
        return cls(card, -1.0 if facts.name == "dark_of_test" else 1.0)

    def score(self, images: Any, prompts: Any) -> torch.Tensor:
        values = [self.sign * float(np.asarray(image, dtype=float).mean()) for image in to_pil(images)]
        return torch.tensor(values, dtype=torch.float32)


NAMES = ("grey_of_test", "dark_of_test")


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    from metrics import catalogue

    for name in NAMES:
        higher = metrics.Direction.HIGHER
        facts = metrics.Facts(name=name, title=name, kind=metrics.Kind.IMAGE, direction=higher)
        metrics.register(name, f"{__name__}:Grey", facts)
    yield
    for name in NAMES:
        catalogue._FACTS.pop(name, None)
        catalogue._TARGETS.pop(name, None)


def draw(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8, 3), level, dtype=np.uint8)
    pixels[:2, :2] = (level * 7) % 256
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve prompts of two pictures each, and sets of three pictures."""
    root = tmp_path_factory.mktemp("votes")
    for p in range(12):
        for side, level in (("a", 60 + 5 * p), ("b", 171 - 6 * p)):
            draw(root / f"{side}{p}.png", level)
            for k in range(3):
                draw(root / "sets" / f"{side}{p}" / f"{k}.png", level + (40 * k if side == "a" else 5 * k))
    return root


def mean(path: Path) -> float:
    return float(np.float32(np.asarray(Image.open(path), dtype=float).mean()))


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def votes_on(folder: Path, sets: bool = False) -> list[dict[str, Any]]:
    rng, rows = random.Random(1), []
    for p in range(12):
        for rater in range(8):
            a, b = (f"sets/a{p}", f"sets/b{p}") if sets else (f"a{p}.png", f"b{p}.png")
            follows = "a" if mean(folder / f"a{p}.png") > mean(folder / f"b{p}.png") else "b"
            choice = rng.choice([follows, follows, follows, "a", "b", "tie"])
            row = {"prompt": f"prompt {p}", "a": a, "b": b, "choice": choice, "rater": f"r{rater}"}
            if rater % 2:  # the same pair the other way round
                row |= {"a": b, "b": a, "choice": {"a": "b", "b": "a"}.get(choice, "tie")}
            rows.append(row)
    return rows


def test_numbers_are_the_plain_ones(folder: Path, tmp_path: Path) -> None:
    rows = votes_on(folder)
    file = write(tmp_path / "votes.jsonl", rows)
    found = bench.agreement(file, images=folder, metrics=list(NAMES), results=tmp_path, device="cpu")
    grey, dark = found.trust.metrics
    assert (grey.metric, dark.metric) == NAMES
    right, won, gap = [], {}, {}
    for row in rows:
        d = mean(folder / row["a"]) - mean(folder / row["b"])
        y = {"a": 1.0, "b": 0.0, "tie": 0.5}[row["choice"]]
        if y != 0.5:
            right.append((d > 0) == (y == 1))
        turned = row["a"][0] == "b"
        won.setdefault(row["prompt"], []).append(1 - y if turned else y)
        gap[row["prompt"]] = -d if turned else d
    assert grey.accuracy.mean == pytest.approx(np.mean(right))
    assert dark.accuracy.mean == pytest.approx(1 - np.mean(right))
    x = [sign * gap[p] for sign in (1, -1) for p in gap]
    y = [sign * (np.mean(won[p]) - 0.5) for sign in (1, -1) for p in gap]
    assert grey.tau.mean == pytest.approx(kendalltau(x, y).statistic)
    assert grey.spearman.mean == pytest.approx(spearmanr(x, y).statistic)
    (lead,) = found.trust.leads
    assert lead.difference.mean == pytest.approx(2 * np.mean(right) - 1)
    assert 0 < lead.difference.low < lead.difference.mean < lead.difference.high
    assert lead.p_holm == lead.p < 0.05
    assert "is right more often than dark_of_test (by" in found.text
    assert "Surely against people: dark_of_test" in found.text
    assert found.data["votes"] == len(rows)
    assert found.data["raters"] == 8
    assert found.data["pairs"] == 12  # both ways round are one pair


def test_sets_are_scored_as_sets_and_images_as_their_mean(folder: Path, tmp_path: Path) -> None:
    rows = votes_on(folder, sets=True)
    given = bench.agreement(
        write(tmp_path / "sets.jsonl", rows), images=folder, metrics=["pvs", "grey_of_test"], results=tmp_path
    )
    assert given.data["unit"] == "set"
    pvs = metrics.load("pvs")
    rights = []
    for row in rows:
        values = [
            pvs.score([Image.open(folder / row[side] / f"{k}.png").convert("RGB") for k in range(3)]) for side in "ab"
        ]
        if row["choice"] != "tie":
            rights.append((values[0] > values[1]) == (row["choice"] == "a"))
    by_name = {one.metric: one for one in given.trust.metrics}
    assert by_name["pvs"].accuracy.mean == pytest.approx(np.mean(rights))
    assert "the mean over its pictures" in given.text
    listed = [row | {side: [f"{row[side]}/{k}.png" for k in range(3)] for side in "ab"} for row in rows]
    again = bench.agreement(write(tmp_path / "l.jsonl", listed), images=folder, metrics=["pvs"], results=tmp_path)
    assert again.trust.metrics[0].accuracy == by_name["pvs"].accuracy


def test_what_is_left_out_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = votes_on(folder)
    rows += [rows[0], {**rows[1], "choice": "left"}, {**rows[2], "a": "gone.png"}, {**rows[3], "prompt": ""}]
    broken = folder / "broken.png"
    broken.write_bytes(b"no image")
    rows.append({**rows[4], "a": "broken.png"})
    file = write(tmp_path / "votes.jsonl", rows)
    where = ["--images", str(folder), "--results", str(tmp_path), "--metrics", "grey_of_test"]
    assert main(["agreement", "--votes", str(file), *where]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    told = " ".join(out.split())
    for sentence in (
        "1 row left out: a choice that is not a, b or tie",
        "1 row left out: no prompt",
        "1 vote left out: a picture that is not there (1 picture, the first is gone.png)",
        "1 vote left out: a rater's second answer to a pair",
        "grey_of_test: 1 vote left out, as it has no value of a picture",
        "broken.png: it cannot be decoded",
    ):
        assert sentence in told
    assert main(["agreement", "--votes", str(file), *where, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["left_out"]["a picture that is not there"] == 1
    assert data["metrics"][0]["accuracy"]["ci_low"] < data["metrics"][0]["accuracy"]["mean"]


def test_forms_of_others(tmp_path: Path) -> None:
    train = [{"prompt": "p", "file_path": ["x.jpg", "y.jpg"], "human_preference": [0, 1], "user_hash": "u"}]
    (tmp_path / "train.json").write_text(json.dumps(train))
    assert read_table(tmp_path / "train.json").votes == [TableVote("p", ("x.jpg",), ("y.jpg",), 0.0, "u")]
    ranks = [{"rank": [0, 1, 2], "user_hash": "u"}, {"rank": [0, 2, 1], "user_hash": "v"}]
    test = [{"prompt": "p", "image_path": ["x", "y", "z"], "rank": [0, 1, 2], "raw_annotations": ranks}]
    (tmp_path / "test.json").write_text(json.dumps(test))
    table = read_table(tmp_path / "test.json")
    assert [(v.a[0], v.b[0], v.outcome, v.rater) for v in table.votes] == [
        ("x", "y", 1.0, "u"),
        ("x", "z", 1.0, "u"),
        ("y", "z", 1.0, "u"),
        ("x", "y", 1.0, "v"),
        ("x", "z", 1.0, "v"),
        ("y", "z", 0.0, "v"),
    ]
    # annotators whose rankings are not in the order of the pictures: the mean ranking is taken, and that is told
    test[0]["raw_annotations"] = [{"rank": [2, 1, 0], "user_hash": "u"}]
    (tmp_path / "test.json").write_text(json.dumps(test))
    table = read_table(tmp_path / "test.json")
    assert [vote.outcome for vote in table.votes] == [1.0, 1.0, 1.0]
    assert "order 100% of the pairs against their mean" in table.notes[0]
    (tmp_path / "counts.csv").write_text("prompt,a,b,votes_a,votes_b,ties\np,x,y|z,2,1,1\np,x,y,-1,0,0\n")
    table = read_table(tmp_path / "counts.csv")
    assert [vote.outcome for vote in table.votes] == [1.0, 1.0, 0.0, 0.5]
    assert table.votes[0].b == ("y", "z")
    assert sum(table.left_out.values()) == 1


def test_pick_a_pic_carries_its_pictures(folder: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for row in votes_on(folder):
        labels = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}[row["choice"]]
        uids = [row[side].removesuffix(".png") for side in "ab"]
        pictures = []
        for side in "ab":
            stream = io.BytesIO()
            Image.open(folder / row[side]).save(stream, "JPEG")
            pictures.append(stream.getvalue())
        rows.append(
            {
                "caption": row["prompt"],
                "image_0_uid": uids[0],
                "image_1_uid": uids[1],
                "jpg_0": pictures[0],
                "jpg_1": pictures[1],
                "label_0": labels[0],
                "label_1": labels[1],
                "has_label": True,
                "user_id": int(row["rater"][1:]),
            }
        )
    rows[0]["has_label"] = False
    file = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=10)
    found = bench.agreement(file, metrics=["grey_of_test"], results=tmp_path)
    assert (found.data["form"], found.data["votes"], found.data["raters"]) == ("Pick-a-Pic", len(rows) - 1, 8)
    assert found.data["left_out"] == {"no label": 1}
    assert found.trust.metrics[0].accuracy.mean > 0.6


def test_empty_cells_of_tables_are_no_raters_and_no_prompts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"prompt": "p", "a": "x", "b": "y", "choice": "a", "rater": float("nan")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "nan.parquet")
    assert read_table(tmp_path / "nan.parquet").votes[0].rater == ""
    pq.write_table(pa.Table.from_pylist([{**rows[0], "prompt": float("nan")}]), tmp_path / "none.parquet")
    with pytest.raises(UsageError, match="no prompt"):
        read_table(tmp_path / "none.parquet")


def test_votes_without_raters_are_different_people(folder: Path, tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "rater"} for row in votes_on(folder)]
    found = bench.agreement(write(tmp_path / "v.jsonl", rows), images=folder, metrics=NAMES[:1], results=tmp_path)
    assert found.data["raters"] is None
    assert "each counts as another person's" in found.text
    one = found.trust.metrics[0].accuracy
    assert one.low < one.mean < one.high


@pytest.mark.parametrize(
    ("rows", "asked", "error", "told"),
    [
        ([{"prompt": "p", "left": "x"}], NAMES[0], UsageError, "none of the known forms of votes"),
        ([{"prompt": "p", "a": "x", "b": "y", "choice": "?"}], NAMES[0], UsageError, "no vote that can be used"),
        ([{"prompt": "p", "a": "x", "b": "y", "choice": "a"}], NAMES[0], MissingError, "give their folder"),
        ([{"prompt": "p", "a": "a0.png", "b": "b0.png", "choice": "a"}], "pvs", UsageError, "votes are on single"),
        ([{"prompt": "p", "a": "a0.png", "b": "b0.png", "choice": "a"}], "fid", UsageError, "reference set"),
        (
            [
                {"prompt": "p", "a": "a0.png", "b": "b0.png", "choice": "a"},
                {"prompt": "p", "a": "sets/a0", "b": "sets/b0", "choice": "a"},
            ],
            NAMES[0],
            UsageError,
            "two files",
        ),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, tmp_path: Path, rows: list[dict[str, Any]], asked: str, error: type[Exception], told: str
) -> None:
    file = write(tmp_path / "votes.jsonl", rows)
    with pytest.raises(error, match=told):
        bench.agreement(file, images=folder, metrics=[asked], results=tmp_path)


def test_one_vote_and_a_folder_that_is_none(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "v.jsonl", [{"prompt": "p", "a": "a0.png", "b": "b0.png", "choice": "a", "rater": "r"}])
    found = bench.agreement(file, images=folder, metrics=list(NAMES), results=tmp_path)
    assert "no interval: a single rater" in found.text
    with pytest.raises(UsageError, match="is no folder"):
        bench.agreement(file, images=tmp_path / "none", metrics=["grey_of_test"], results=tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        bench.agreement(tmp_path / "none.jsonl", metrics=["grey_of_test"], results=tmp_path)
