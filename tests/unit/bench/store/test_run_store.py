from __future__ import annotations

import errno
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import UsageError
from bench.store import parts
from bench.store.atomic import atomic_write, to_json
from bench.store.digests import write_protected
from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.run_store import RunStore, find_runs

PIXELS = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
CARD = {"name": "lpips", "kind": "group", "digest": "d1"}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, "shapes", "refl", "00c0ffee")


def manifest(run: str = "refl@00c0ffee") -> Manifest:
    prompts = [{"id": "p1", "text": "a red circle", "tags": []}]
    return Manifest("shapes", "refl", run, {}, {}, {}, prompts, 2)


def add_image(store: RunStore, prompt_id: str, sample: int, pixels: np.ndarray = PIXELS) -> ImageRow:
    path, sha256 = store.save_image(prompt_id, sample, pixels)
    row = ImageRow(prompt_id, "text of " + prompt_id, sample, 42, path, sha256, 0.25)
    store.append_images([row])
    return row


def files_under(folder: Path) -> list[str]:
    """All files but the empty one that the run is locked with."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def fail_with(code: int):  # type: ignore[no-untyped-def]
    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


# --- names on disk: the contract


def test_the_layout_is_the_contract(store: RunStore, tmp_path: Path) -> None:
    add_image(store, "p1", 0)
    store.append_scores("hpsv2.1", [ScoreRow("p1", 0, 0.25)], {"name": "hpsv2.1"})
    store.write_manifest(manifest())
    store.write_summary({"schema_version": 1, "metrics": {}})
    names = [re.sub(r"(part-|prompts-).*", r"\1", n) for n in files_under(tmp_path / "runs/shapes/refl@00c0ffee")]
    assert names == [
        "images/p1/0.png",
        "images/part-",
        "manifest.json",
        "manifest.json.sha256",
        "prompts-",
        "scores/hpsv2.1/card.json",
        "scores/hpsv2.1/card.json.sha256",
        "scores/hpsv2.1/part-",
        "summary.json",
        "summary.json.sha256",
    ]
    assert (store.name, store.suite) == ("refl@00c0ffee", "shapes")


def test_parquet_columns_are_the_contract(store: RunStore) -> None:
    import pyarrow.parquet as pq

    add_image(store, "p1", 0)
    store.append_scores("lpips", [ScoreRow("p1", None, 0.5)], CARD)
    images = pq.ParquetFile(next((store.path / "images").glob("part-*.parquet"))).schema_arrow
    scores = pq.ParquetFile(next((store.path / "scores/lpips").glob("part-*.parquet"))).schema_arrow
    assert images.names == ["prompt_id", "prompt", "sample", "seed", "path", "sha256", "seconds"]
    assert scores.names == ["prompt_id", "sample", "value", "reason", "image_sha256"]
    assert images.metadata[b"bench_schema_version"] == b"2"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "", ".x", "a..b"])
def test_unsafe_names_never_become_paths(store: RunStore, name: str, tmp_path: Path) -> None:
    for use in (
        lambda: store.image_path(name, 0),
        lambda: store.save_image(name, 0, PIXELS),
        lambda: store.append_scores(name, [], {}),
        lambda: RunStore.create(tmp_path, name, "refl", "00000000"),
        lambda: RunStore.create(tmp_path, "shapes", name, "00000000"),
    ):
        with pytest.raises(UsageError, match="not safe as a file name"):
            use()


# --- images


def test_images_are_lossless_and_recorded(store: RunStore) -> None:
    row = add_image(store, "p1", 1)
    assert row.path == "images/p1/1.png"
    with Image.open(store.path / row.path) as image:
        assert (np.asarray(image).transpose(2, 0, 1) == PIXELS).all()
    assert store.images() == [row]


def test_a_pil_image_and_an_array_are_the_same_file(store: RunStore) -> None:
    picture = Image.fromarray(PIXELS.transpose(1, 2, 0).copy())
    assert store.save_image("p1", 0, PIXELS)[1] == store.save_image("p1", 1, picture)[1]


@pytest.mark.parametrize("pixels", [PIXELS.astype(np.float32), PIXELS[0], PIXELS.transpose(1, 2, 0)])
def test_other_pixels_are_refused(store: RunStore, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 pixels \[3, H, W\], got"):
        store.save_image("p1", 0, pixels)


def test_the_last_record_of_an_image_wins_beyond_ten_parts(store: RunStore) -> None:
    for k in range(12):
        row = add_image(store, "p1", 0, PIXELS + np.uint8(k))
    assert store.images() == [row]
    assert store.verified_images([("p1", 0)]) == ([row], [])


def test_verified_images_tell_what_is_wrong(store: RunStore) -> None:
    rows = {k: add_image(store, "p1", k) for k in range(5)}
    (store.path / rows[1].path).unlink()
    whole = (store.path / rows[2].path).read_bytes()
    (store.path / rows[2].path).write_bytes(whole[:-20])
    store.save_image("p1", 3, PIXELS[:, ::-1])
    (store.path / rows[4].path).write_bytes(b"hello")
    store.save_image("p1", 5, PIXELS)  # the writer was killed before it recorded this one
    good, bad = store.verified_images([("p1", k) for k in range(7)])
    assert good == [rows[0]]
    assert [(image.sample, image.why.split(" (")[0], image.damaged) for image in bad] == [
        (1, "missing", True),
        (2, "truncated", True),
        (3, "foreign", True),
        (4, "not a PNG file", True),
        (5, "of an interrupted run, or foreign", True),
        (6, "not generated yet", False),
    ]


def test_a_truncated_part_is_told_once_and_ignored(store: RunStore, said: list[str]) -> None:
    kept = add_image(store, "p1", 0)
    add_image(store, "p1", 1)
    part = parts.part_files(store.path / "images")[1]
    part.write_bytes(part.read_bytes()[:100])
    assert store.images() == [kept]
    assert store.images() == [kept]
    assert len(said) == 1
    assert str(part) in said[0]
    assert "is damaged (its content does not have the sha256 in its name)" in said[0]


def test_a_part_with_other_columns_is_ignored(store: RunStore, said: list[str]) -> None:
    parts.write_part(store.path / "images", [{"x": "1"}], {"x": "string"})
    assert store.images() == []
    assert len(said) == 1


def test_a_part_of_a_newer_schema_is_an_error(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("bench.store.parts.SCHEMA_VERSION", 3)
        add_image(store, "p1", 0)
    with pytest.raises(UsageError, match=r"newer version \(schema 3, this one reads up to 2\): upgrade"):
        store.images()


def test_a_folder_that_looks_like_a_part_is_no_part(store: RunStore) -> None:
    row = add_image(store, "part-1.parquet", 0)
    assert store.images() == [row]


def test_an_image_is_adopted_from_a_run_with_the_same_pixels(store: RunStore, tmp_path: Path) -> None:
    row = add_image(store, "p1", 0)
    other = RunStore.create(tmp_path, "shapes", "refl", "11111111")
    adopted = other.adopt_image(store, row)
    assert adopted == row
    other.append_images([adopted])
    assert other.verified_images([("p1", 0)]) == ([row], [])
    assert other.adopt_image(store, row) == row  # again: nothing is left behind
    assert not list(other.path.rglob("*.tmp"))


def test_adopting_works_where_there_are_no_hard_links(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = add_image(store, "p1", 0)
    other = RunStore.create(tmp_path, "shapes", "refl", "11111111")
    monkeypatch.setattr(os, "link", fail_with(errno.EXDEV))
    assert other.adopt_image(store, row) == row
    assert (other.path / row.path).read_bytes() == (store.path / row.path).read_bytes()


def test_a_damaged_image_is_not_adopted(store: RunStore, tmp_path: Path) -> None:
    row = add_image(store, "p1", 0)
    (store.path / row.path).write_bytes(b"")
    other = RunStore.create(tmp_path, "shapes", "refl", "11111111")
    assert other.adopt_image(store, row) is None
    assert files_under(other.path) == []


# --- scores


def test_nan_keeps_its_reason(store: RunStore) -> None:
    rows = [ScoreRow("p1", 0, 0.5), ScoreRow("p1", 1, math.nan, "the network failed")]
    store.append_scores("pickscore", rows, {"kind": "image"})
    good, bad = store.scores("pickscore")
    assert good == rows[0]
    assert math.isnan(bad.value)
    assert bad.reason == "the network failed"


def test_rows_of_the_three_kinds(store: RunStore) -> None:
    store.append_scores("lpips", [ScoreRow("p1", None, 0.5), ScoreRow("p2", None, 0.25)], CARD)
    store.append_scores("lpips", [ScoreRow("p1", None, 0.75)], CARD)
    store.append_scores("fid", [ScoreRow(None, None, 12.5)], {"kind": "set"})
    assert store.scores("lpips") == [ScoreRow("p1", None, 0.75), ScoreRow("p2", None, 0.25)]
    assert store.scores("fid") == [ScoreRow(None, None, 12.5)]
    assert store.score_metrics() == ["fid", "lpips"]
    assert store.score_card("lpips") == CARD
    assert (store.scores("kid"), store.score_card("kid")) == ([], None)


@pytest.mark.parametrize("change", [{"digest": "d2"}, {"scope": {"samples": 3}}])
def test_scores_of_another_card_are_replaced_and_it_is_said(
    store: RunStore, said: list[str], change: dict[str, object]
) -> None:
    store.append_scores("lpips", [ScoreRow("p1", None, 0.5), ScoreRow("p2", None, 0.25)], CARD)
    store.append_scores("lpips", [ScoreRow("p1", None, 0.75)], CARD | change)
    assert store.scores("lpips") == [ScoreRow("p1", None, 0.75)]
    assert store.score_card("lpips") == CARD | change
    assert len(said) == 1


def test_a_card_that_differs_in_no_value_keeps_the_scores(store: RunStore, said: list[str]) -> None:
    store.append_scores("lpips", [ScoreRow("p1", None, 0.5)], CARD | {"libraries": {"torch": "2.14"}})
    store.append_scores("lpips", [ScoreRow("p2", None, 0.5)], CARD | {"libraries": {"torch": "2.15"}})
    assert len(store.scores("lpips")) == 2
    assert said == []


def test_dropped_scores_are_gone(store: RunStore) -> None:
    store.append_scores("lpips", [ScoreRow("p1", None, 0.5)], CARD)
    store.drop_scores("lpips")
    store.drop_scores("lpips")
    assert (store.score_metrics(), store.scores("lpips"), store.score_card("lpips")) == ([], [], None)
    assert files_under(store.path) == []


# --- manifest and summary


def test_manifest_and_summary_are_read_back(store: RunStore) -> None:
    assert not store.exists()
    assert store.summary() is None
    store.write_manifest(manifest())
    store.write_summary({"schema_version": 2, "metrics": {"fid": {"mean": math.nan, "ci_low": np.float64("inf")}}})
    assert store.exists()
    assert store.manifest() == manifest()
    assert store.summary() == {"schema_version": 2, "metrics": {"fid": {"mean": None, "ci_low": None}}}


def test_a_run_folder_without_manifest_is_said_to_be_none(store: RunStore) -> None:
    with pytest.raises(UsageError, match=r"is not a run: it has no manifest\.json"):
        store.manifest()


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_damaged_manifest_is_one_sentence(store: RunStore, text: str) -> None:
    (store.path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match="is damaged"):
        store.manifest()


def test_a_newer_schema_of_manifest_and_summary(store: RunStore) -> None:
    store.write_manifest(manifest())
    for name, read in (("manifest.json", store.manifest), ("summary.json", store.summary)):
        write_protected(store.path / name, json.dumps(manifest().to_dict() | {"schema_version": 3}))
        with pytest.raises(UsageError, match=rf"{name} was written by a newer version .* upgrade imagerefl-bench"):
            read()


def test_find_runs_from_any_folder_of_the_tree(tmp_path: Path) -> None:
    for suite, method in (("shapes", "refl"), ("shapes", "base"), ("sd15", "base")):
        RunStore.create(tmp_path, suite, method, "00000000").write_manifest(manifest())
    RunStore.create(tmp_path, "shapes", "begun", "00000000")  # killed before it had a manifest
    assert [f"{s.suite}/{s.name}" for s in find_runs(tmp_path)] == [
        "sd15/base@00000000",
        "shapes/base@00000000",
        "shapes/refl@00000000",
    ]
    shapes = ["base@00000000", "refl@00000000"]
    assert [s.name for s in find_runs(tmp_path, "shapes")] == shapes
    assert [s.name for s in find_runs(tmp_path / "runs" / "shapes")] == shapes
    assert len(find_runs(tmp_path / "runs")) == 3
    assert [s.name for s in find_runs(tmp_path / "runs/shapes/base@00000000")] == shapes[:1]
    assert find_runs(tmp_path / "nowhere") == []


# --- atomic writes


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "manifest.json"
    atomic_write(path, "old")
    monkeypatch.setattr(os, broken, fail_with(errno.ENOSPC))
    with pytest.raises(UsageError) as caught:
        atomic_write(path, "new")
    assert str(caught.value).startswith(f"cannot write {path}: the disk is full: free some space")
    monkeypatch.undo()
    assert files_under(tmp_path) == ["manifest.json"]
    assert path.read_text() == "old"


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]) if len(data) > 20 else fail_with(28)())
    with pytest.raises(UsageError, match="the disk is full"):
        store.save_image("p1", 0, PIXELS)
    with pytest.raises(UsageError, match="the disk is full"):
        store.append_scores("lpips", [ScoreRow("p1", None, 0.5)], CARD)
    monkeypatch.undo()
    assert files_under(store.path) == []
    assert store.scores("lpips") == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.ENOTDIR, "is a file, not a folder"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_other_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    monkeypatch.setattr(os, "open", fail_with(code))
    with pytest.raises(UsageError, match=words):
        atomic_write(tmp_path / "x", b"data")


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    atomic_write(tmp_path / "x", "0123456789")
    assert (tmp_path / "x").read_text() == "0123456789"


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "x", b"data")
    assert files_under(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("I am a file")
    with pytest.raises(UsageError, match=r"cannot write .*: a part of that path is a file, not a folder"):
        RunStore.create(tmp_path / "results", "shapes", "refl", "00000000")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="permission denied"):
        RunStore.create(tmp_path, "shapes", "refl", "00000000")


def test_file_and_folder_are_flushed_before_a_manifest_counts(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_image("p1", 0, PIXELS)
    store.save_image("p2", 0, PIXELS)
    flushed: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    store.write_manifest(manifest())
    names = [Path(name).name for name in flushed]
    assert set(names[:2]) == {"p1", "p2"}
    written = [name for name in names[2:] if name != store.name]
    assert [name.split(".")[1].partition("-")[0] for name in written] == ["prompts", "manifest", "manifest"]
    assert names[3::2] == [store.name] * 3


def test_json_has_null_for_what_is_not_finite() -> None:
    assert json.loads(to_json({"a": [math.nan, (math.inf, 1.5)], "b": {"c": -math.inf}})) == {
        "a": [None, [None, 1.5]],
        "b": {"c": None},
    }
