"""Digests that are remembered: only while a file is what it was, only on the disk, and never in the way."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from metrics.weights import digest_cache
from metrics.weights.digest_cache import DigestCache, file_digest


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content was read."""
    names: list[str] = []
    real = digest_cache._hashed
    monkeypatch.setattr(digest_cache, "_hashed", lambda path: (names.append(path.name), real(path))[1])
    return names


def settle(*paths: Path) -> None:
    """Wait until what was just written counts as old."""
    while any(digest_cache._young(digest_cache._facts(path)) for path in paths):
        time.sleep(0.02)


def one(cache: DigestCache, path: Path) -> str:
    found = cache.digests(path.parent, [path.name])[path.name]
    assert isinstance(found, str)
    return found


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process."""
    monkeypatch.setattr(digest_cache, "_known", {})


def test_a_file_is_hashed_once_for_all_processes(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"weights")
    settle(file)
    first = one(DigestCache(tmp_path / "cache"), file)
    forget(monkeypatch)
    assert one(DigestCache(tmp_path / "cache"), file) == first
    assert hashed == ["w.safetensors"]
    assert one(DigestCache(tmp_path / "cache", trust=False), file) == first
    assert len(hashed) == 2


def test_other_content_under_the_old_times_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "0.png"
    file.write_bytes(b"first")
    settle(file)
    first, before = one(DigestCache(tmp_path / "cache"), file), file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    forget(monkeypatch)
    assert one(DigestCache(tmp_path / "cache"), file) != first


def test_what_changed_this_moment_is_not_remembered(tmp_path: Path, hashed: list[str]) -> None:
    file, cache = tmp_path / "0.png", DigestCache(tmp_path / "cache")
    file.write_bytes(b"first")
    one(cache, file)
    file.write_bytes(b"other")
    one(cache, file)
    assert len(hashed) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", "flip", "nested", "folder"])
def test_a_damaged_cache_is_hashed_again(
    tmp_path: Path, hashed: list[str], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w"
    file.write_bytes(b"weights")
    settle(file)
    first = one(DigestCache(tmp_path / "cache"), file)
    [shard] = (tmp_path / "cache").iterdir()
    data = json.loads(shard.read_text())
    data["content"]["files"]["w"][4] = "0" * 64
    if damage == "folder":
        shard.unlink()
        shard.mkdir()
    else:
        shard.write_text({"flip": json.dumps(data), "nested": "[" * 100_000}.get(damage, damage))
    forget(monkeypatch)
    assert one(DigestCache(tmp_path / "cache"), file) == first
    assert len(hashed) == 2


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("I am a file")
    file = tmp_path / "w"
    file.write_bytes(b"weights")
    settle(file)
    assert len(one(DigestCache(tmp_path / "cache"), file)) == 64


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = DigestCache(None).digests(tmp_path, ["pipe", "absent", "."])
    assert all(isinstance(error, OSError) for error in found.values())
    with pytest.raises(OSError, match="not a regular file"):
        file_digest(tmp_path / "pipe")


def test_the_hub_names_its_blobs_by_their_digest(tmp_path: Path, hashed: list[str]) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert file_digest(tmp_path / "model.safetensors") == "ab" * 32
    assert hashed == []


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DIGEST_CACHE", "off")
    assert digest_cache.user_cache()._folder is None
    monkeypatch.setenv("BENCH_DIGEST_CACHE", str(tmp_path))
    assert digest_cache.user_cache()._folder == tmp_path
    monkeypatch.delenv("BENCH_DIGEST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert digest_cache.user_cache()._folder == tmp_path / "x/imagerefl-bench/digests"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / ".x.json.999999999-1.tmp").write_text("half")
    file = tmp_path / "w"
    file.write_bytes(b"weights")
    settle(file)
    one(DigestCache(cache), file)
    assert not list(cache.glob(".*"))
