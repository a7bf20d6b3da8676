"""A manifest's prompts are written once, its counts apart, and neither is believed when it does not fit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.store.digests import write_protected
from bench.store.records import Manifest
from bench.store.run_store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path, "shapes", "refl", "00c0ffee")


def manifest(prompts: int = 3) -> Manifest:
    listed = [{"id": f"p{n}", "text": f"prompt {n}\u2028and more", "tags": ["t"]} for n in range(prompts)]
    return Manifest("shapes", "refl", "refl@00c0ffee", {}, {}, {}, listed, 2, counts={"images": 0})


def prompt_files(store: RunStore) -> list[Path]:
    return sorted(store.path.glob("prompts-*.jsonl"))


def test_prompts_are_written_once(store: RunStore) -> None:
    first = manifest()
    store.write_manifest(first)
    [file] = prompt_files(store)
    inode = file.stat().st_ino
    first.status = "complete"
    store.write_manifest(first)
    assert prompt_files(store) == [file]
    assert file.stat().st_ino == inode
    assert "prompt 0" not in (store.path / "manifest.json").read_text()
    assert store.manifest() == first


def test_more_prompts_replace_the_file(store: RunStore) -> None:
    store.write_manifest(manifest())
    store.write_manifest(manifest(5))
    assert len(prompt_files(store)) == 1
    assert len(store.manifest().prompts) == 5


def test_a_prompt_file_is_a_prompt_set(store: RunStore) -> None:
    import prompts

    store.write_manifest(manifest())
    [file] = prompt_files(store)
    assert [prompt.id for prompt in prompts.read(file)] == ["p0", "p1", "p2"]


def test_counts_are_written_apart_and_end_in_the_manifest(store: RunStore) -> None:
    one = manifest()
    store.write_manifest(one)
    before = (store.path / "manifest.json").read_bytes()
    one.counts["images"], one.timings["generate_seconds"] = 4, 1.5
    store.write_counts(one)
    assert (store.path / "manifest.json").read_bytes() == before
    assert store.manifest() == one
    one.status = "complete"
    store.write_manifest(one)
    assert not (store.path / "counts.json").exists()
    assert json.loads((store.path / "manifest.json").read_text())["counts"] == {"images": 4}


def test_counts_of_an_older_manifest_are_void(store: RunStore) -> None:
    one = manifest()
    store.write_manifest(one)
    one.counts["images"] = 4
    store.write_counts(one)
    old = (store.path / "counts.json").read_bytes()
    one.counts["images"], one.samples = 6, 3
    store.write_manifest(one)
    (store.path / "counts.json").write_bytes(old)  # a kill between the manifest and their removal
    assert store.manifest().counts == {"images": 6}


@pytest.mark.parametrize("content", ["", "{", '{"counts": {"images": 9}, "timings": {}}', "[" * 100_000])
def test_damaged_counts_are_told(store: RunStore, content: str, said: list[str]) -> None:
    store.write_manifest(manifest())
    (store.path / "counts.json").write_text(content)
    assert store.manifest().counts == {"images": 0}
    assert "counts and timings are those of the last manifest" in said[0]


def test_a_missing_or_damaged_prompt_file_is_one_sentence(store: RunStore) -> None:
    store.write_manifest(manifest())
    [file] = prompt_files(store)
    text = file.read_text()
    file.write_text(text.replace("prompt 1", "prompt 7"))
    with pytest.raises(UsageError, match=r"prompts-.* is damaged .* delete .*manifest\.json and run"):
        store.manifest()
    file.unlink()
    with pytest.raises(UsageError, match="is missing"):
        store.manifest()
    store.write_manifest(manifest())  # what the same command does when the manifest was deleted
    assert len(store.manifest().prompts) == 3


@pytest.mark.parametrize("listed", [{"file": "../x.jsonl", "count": 1}, {"file": 5, "count": 1}, {"count": 1}, "all"])
def test_prompts_lie_in_the_run(store: RunStore, listed: object) -> None:
    store.write_manifest(manifest())
    data = json.loads((store.path / "manifest.json").read_text())
    write_protected(store.path / "manifest.json", json.dumps(data | {"prompts": listed}))
    with pytest.raises(UsageError, match="is damaged"):
        store.manifest()


def test_a_removed_run_is_not_made_up_again(store: RunStore) -> None:
    one = manifest()
    store.write_manifest(one)
    (store.path / "manifest.json").unlink()
    with pytest.raises(UsageError, match="was removed while it was worked on: run the same command again"):
        store.write_counts(one)


@pytest.mark.parametrize("last", ["made.json", "manifest.json.sha256"])
def test_a_folder_that_is_removed_while_its_manifest_is_written_is_whole_afterwards(
    store: RunStore, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, removed = os.replace, []

    def replacing(source: str, target: Path) -> None:
        replace(source, target)
        if Path(target).name == last and not removed:
            removed.append(last)
            shutil.rmtree(store.path)

    monkeypatch.setattr(os, "replace", replacing)
    one = manifest()
    one.batches = {"size": 2}
    store.write_manifest(one)
    assert removed
    assert store.manifest() == one
    assert (store.path / "made.json").is_file()


@pytest.mark.parametrize("method", ["", "re\0fl", "\x1b[2Jrefl"])
def test_a_method_without_a_name_or_with_control_characters_is_refused(store: RunStore, method: str) -> None:
    store.write_manifest(manifest())
    data = json.loads((store.path / "manifest.json").read_text())
    write_protected(store.path / "manifest.json", json.dumps(data | {"method": method}))
    with pytest.raises(UsageError, match="method: must be a name without control characters") as caught:
        store.manifest()
    assert str(caught.value).isprintable()


def test_a_manifest_of_version_1_has_its_prompts_inside(store: RunStore, said: list[str]) -> None:
    (store.path / "manifest.json").write_text(json.dumps(manifest().to_dict() | {"schema_version": 1}))
    assert store.manifest() == manifest()
    assert "was written by an earlier version, without digests" in said[0]
