"""Flipped bits, swapped files and kills between a file and its digest: nothing is believed in silence, nothing lost."""

from __future__ import annotations

import math
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.summary import summarise, summary_fault
from bench.errors import UsageError
from bench.store.digests import beside, digest_in_name, read_protected, seal_holds, sealed, sha256_of, write_protected
from bench.store.parts import part_fault, part_files
from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.run_store import RunStore
from bench.store.runs import read_run
from bench.store.ties import Ties

CARD = {"name": "pickscore", "kind": "image", "digest": "d1", "low": -100.0, "high": 100.0}


def make(tmp_path: Path, method: str = "refl", suite: str = "shapes") -> RunStore:
    """A finished run of two prompts and two samples, with values that are tied to their pictures."""
    store = RunStore.create(tmp_path, suite, method, "00c0ffee")
    rng = np.random.default_rng(len(method))
    rows = []
    for prompt_id in ("p1", "p2"):
        for sample in range(2):
            path, digest = store.save_image(prompt_id, sample, rng.integers(0, 255, (3, 8, 8)).astype(np.uint8))
            rows.append(ImageRow(prompt_id, f"text of {prompt_id}", sample, 42, path, digest, 0.25))
    store.append_images(rows)
    prompts = [{"id": name, "text": f"text of {name}", "tags": []} for name in ("p1", "p2")]
    store.write_manifest(Manifest(suite, method, store.name, {}, {}, {}, prompts, 2, status="complete"))
    tie = Ties(rows, ["p1", "p2"], 2).of
    scores = [ScoreRow(row.prompt_id, row.sample, 20.0 + row.sample, None, tie(*row.key)) for row in rows]
    store.append_scores("pickscore", scores, CARD)
    groups = [ScoreRow(name, None, 0.5, None, tie(name, None)) for name in ("p1", "p2")]
    store.append_scores("lpips", groups, {"name": "lpips", "kind": "group", "digest": "d2", "low": 0.0, "high": None})
    store.append_scores("fid", [ScoreRow(None, None, 12.0, None, tie(None, None))], {"kind": "set", "digest": "d3"})
    return store


def seen(store: RunStore) -> dict[str, list[float]]:
    """The values that a reader sees, NaN as None."""
    run = read_run(store)
    return {name: [None if math.isnan(v) else v for v in run.rows(name)["value"]] for name in run.metrics}  # type: ignore[misc]


def files_of(store: RunStore) -> list[Path]:
    return sorted(path for path in store.path.rglob("*") if path.is_file() and path.name != ".lock")


def test_every_file_is_protected(tmp_path: Path) -> None:
    store = make(tmp_path)
    for path in files_of(store):
        if path.suffix in (".png", ".sha256"):
            continue
        named = digest_in_name(path)
        listed = beside(path).read_text().split()[0] if beside(path).exists() else None
        assert (named or listed) == sha256_of(path.read_bytes()), path


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_flipped_bit_is_silent(tmp_path: Path, said: list[str], seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every file of a run: refused, told, or the very same values."""
    from bench.runtime import log

    store = make(tmp_path / "whole")
    whole, rng = seen(store), random.Random(seed)
    assert said == []
    for index, path in enumerate(files_of(store)):
        copy = tmp_path / f"{index}" / "runs" / "shapes" / store.name
        shutil.copytree(store.path, copy)
        target = copy / path.relative_to(store.path)
        data = bytearray(target.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        target.write_bytes(bytes(data))
        monkeypatch.setattr(log._once, "said", {})
        said.clear()
        try:
            values = seen(RunStore(copy))
        except UsageError:
            continue
        assert said or values == whole, target
        if target.suffix != ".sha256":
            assert said, target


def test_a_part_of_another_run_or_metric_is_not_taken(tmp_path: Path, said: list[str]) -> None:
    store, other = make(tmp_path), make(tmp_path, "base")
    [mine] = part_files(store.path / "scores/pickscore")
    [theirs] = part_files(other.path / "scores/pickscore")
    mine.unlink()
    shutil.copy(theirs, mine.parent)
    assert seen(store)["pickscore"] == [None] * 4
    assert "holds the rows of base@00c0ffee/scores/pickscore" in said[0]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["scores/pickscore", "scores/fid", "images"])
@pytest.mark.parametrize("digest", [True, False], ids=["a digest", "version 1"])
def test_a_damaged_part_is_set_aside_when_its_rows_are_there_again(
    tmp_path: Path, said: list[str], folder: str, digest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runtime import log

    store = make(tmp_path)
    metric = folder.partition("/")[2]
    whole, values = summarise(store), store.scores(metric) if metric else []
    images, card = store.images(), store.usable_card(metric) if metric else None
    [part] = part_files(store.path / folder)
    if not digest:
        part = part.rename(part.with_name("part-000001-0123456789ab.parquet"))
    part.write_bytes(part.read_bytes()[:-3] + b"abc")
    partial = summarise(store)  # nothing has made them again yet
    assert part.is_file()
    assert partial["metrics"].get(metric or "pickscore", {}).get("n", 0) == 0
    store.append_scores(metric, values, card) if card else store.append_images(images)
    assert summary_fault(store) == "rows of damaged files are there again"
    assert [line.partition(": its rows")[0].rpartition("/")[2].partition(" ")[0] for line in said][:1] == [part.name]
    said.clear()
    again = summarise(store)
    assert [line for line in said if "set aside" in line] == [
        f"{part} was damaged and its rows are there again: it is set aside as {part.name}.damaged"
    ]
    assert not part.exists()
    assert {**again, "made_of": None} == {**whole, "made_of": None}
    monkeypatch.setattr(log._once, "said", {})  # as a later call would be
    said.clear()
    assert summary_fault(store) is None
    assert seen(store)["pickscore"] == [20.0, 21.0, 20.0, 21.0]
    assert [line for line in said if "damaged" in line or "again" in line] == []


def test_a_part_of_another_run_is_left_where_it_is(tmp_path: Path, said: list[str]) -> None:
    store, other = make(tmp_path), make(tmp_path, "base")
    [theirs] = part_files(other.path / "scores/pickscore")
    copy = shutil.copy(theirs, store.path / "scores/pickscore")
    summarise(store)
    assert Path(copy).is_file()
    assert said[0].endswith("its rows are ignored; move it back there, or delete it")


def test_a_part_that_is_renamed_to_another_digest_is_damaged(tmp_path: Path) -> None:
    store = make(tmp_path)
    [part] = part_files(store.path / "scores/fid")
    assert part_fault(part) is None
    moved = part.rename(part.with_name(f"part-000001-{'0' * 64}.parquet"))
    assert part_fault(moved) == "is damaged (its content does not have the sha256 in its name)"


def test_an_image_that_was_replaced_takes_its_values_with_it(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    shutil.copyfile(store.image_path("p2", 1), store.image_path("p1", 0))
    assert seen(store) == {"pickscore": [None, 21.0, 20.0, 21.0], "lpips": [None, 0.5], "fid": [None]}
    assert "p1/0.png is foreign" in said[0]


def test_values_of_other_pictures_than_the_recorded_ones_are_refused(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    path, digest = store.save_image("p1", 0, np.zeros((3, 8, 8), dtype=np.uint8))
    store.append_images([ImageRow("p1", "text of p1", 0, 42, path, digest, 0.25)])  # without a mark on the scores
    assert seen(store) == {"pickscore": [None, 21.0, 20.0, 21.0], "lpips": [None, 0.5], "fid": [None]}
    assert "1 refused: the image was replaced after scoring" in " ".join(said)


def test_images_that_are_gone_are_not_verified_and_it_is_said(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    whole = seen(store)
    for prompt in ("p1", "p2"):
        shutil.rmtree(store.path / "images" / prompt)
    assert seen(store) == whole
    assert said == [f"{store.name}: not verified: 4 of 4 images are not here"]


@pytest.mark.parametrize(("value", "shown"), [(100.0002, 100.0002), (100.0003, None), (-3.9e33, None), (101, None)])
def test_values_outside_the_range_are_refused(tmp_path: Path, said: list[str], value: float, shown: float) -> None:
    store = make(tmp_path)
    store.append_scores("pickscore", [ScoreRow("p2", 0, value)], CARD)
    assert seen(store)["pickscore"] == [20.0, 21.0, shown, 21.0]
    assert bool(said) == (shown is None)


def test_a_row_of_an_unknown_prompt_or_sample_is_told(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    store.append_scores("pickscore", [ScoreRow("p3", 0, 1.0), ScoreRow("p1", 7, 1.0)], CARD)
    assert seen(store)["pickscore"] == [20.0, 21.0, 20.0, 21.0]
    assert said == [f"{store.name}: pickscore: 2 values are of no image of this run (p3/0, p1/7)"]


@pytest.mark.parametrize("content", ["first", "second"])
def test_a_kill_between_a_digest_and_its_file_loses_nothing(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "manifest.json", os.replace
    write_protected(path, '{"a": 1}')

    def killed(source: Path, target: Path) -> None:
        if (Path(target) == path) == (content == "second"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_protected(path, '{"a": 2}')
    assert read_protected(path) == {"a": 1}
    monkeypatch.undo()
    write_protected(path, '{"a": 3}')
    assert read_protected(path) == {"a": 3}


def test_what_an_earlier_version_wrote_survives_a_kill_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "card.json", os.replace
    path.write_text('{"schema_version": 1}')

    def killed(source: Path, target: Path) -> None:
        if Path(target) == path:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_protected(path, '{"schema_version": 2}')
    assert read_protected(path) == {"schema_version": 1}


def test_an_edited_file_is_refused_and_one_without_a_digest_is_told(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    path = store.path / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"complete"', '"running"'))
    with pytest.raises(UsageError, match=r"is damaged or was edited \(its sha256 is not the one in manifest"):
        store.manifest()
    path.write_text(text)
    beside(path).unlink()
    assert store.manifest().complete
    assert "cannot be verified: manifest.json.sha256 is missing; restore it from a copy, or delete " in said[0]


def test_a_card_without_its_digest_is_not_taken_for_one_of_version_1(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    beside(store.path / "scores/pickscore/card.json").unlink()
    assert seen(store)["pickscore"] == [20.0, 21.0, 20.0, 21.0]
    assert said == [
        f"{store.path}/scores/pickscore/card.json cannot be verified: card.json.sha256 is missing; restore it from a "
        "copy, or delete card.json and run the same command again, which makes both anew"
    ]


def test_a_summary_without_its_digest_is_made_again(tmp_path: Path) -> None:
    store = make(tmp_path)
    summarise(store)
    assert summary_fault(store) is None
    beside(store.path / "summary.json").unlink()
    assert summary_fault(store) == "its digest is missing"
    summarise(store)
    assert summary_fault(store) is None


def test_a_seal_is_of_all_that_is_in_a_table() -> None:
    table = sealed({"b": [1, 2.5], "a": {"x": None}})
    assert seal_holds(table)
    assert not seal_holds({**table, "b": [1, 2.6]})
    assert not seal_holds({**table, "c": 1})
    assert seal_holds({"a": 1}) is None
    assert sealed(table) == table


def test_damage_to_a_shared_picture_is_reported_for_all_that_share_it(tmp_path: Path, said: list[str]) -> None:
    store = make(tmp_path)
    other = RunStore.create(tmp_path, "shapes", "refl", "11111111")
    adopted = [row for row in (other.adopt_image(store, row) for row in store.images()) if row]
    other.append_images(adopted)
    with (store.path / adopted[0].path).open("r+b") as file:  # as a failing disk does: nothing here opens it so
        file.seek(20)
        file.write(b"\xff\xff")
    read_run(store)
    assert "belong to refl@11111111" in said[0]
