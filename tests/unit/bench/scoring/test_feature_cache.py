"""The cache of image features: what comes back is what was kept, and nothing that is damaged or of another network."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.scoring import feature_cache
from bench.scoring.feature_cache import (
    FACTS,
    MOST_BYTES,
    PROBES,
    VARIABLE,
    FeatureCache,
    NetworkFeatures,
    NoNetworkFeatures,
    earlier_of,
)
from tests.unit.bench.scoring.fakes import SeenImage


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def features(*names: str, width: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(names))
    return {digest(name): torch.randn(width, generator=generator) for name in names}


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_what_comes_back_is_what_was_kept_to_the_last_bit(tmp_path: Path) -> None:
    first, second = features("a", "b"), features("c", "d", "e", width=7)
    cached = NetworkFeatures(tmp_path / "net")
    cached.put(first)
    cached.put(second)  # of another width: parts are independent
    for reader in (cached, NetworkFeatures(tmp_path / "net")):
        assert reader.known([*first, *second, digest("z")]) == {*first, *second}
        assert same(reader.get([*first, *second, digest("z")]), first | second)
        assert all(row.dtype == torch.float32 for row in reader.get(list(first)).values())


def test_rows_of_a_matrix_are_kept_with_their_shape(tmp_path: Path) -> None:
    tokens = {digest("a"): torch.randn(3, 4)}
    NetworkFeatures(tmp_path).put(tokens)
    assert same(NetworkFeatures(tmp_path).get(list(tokens)), tokens)


def test_what_is_handed_out_is_a_copy(tmp_path: Path) -> None:
    kept = features("a")
    cached = NetworkFeatures(tmp_path)
    cached.put(kept)
    next(iter(cached.get(list(kept)).values())).zero_()
    assert same(cached.get(list(kept)), kept)


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    cached = NetworkFeatures(tmp_path)
    cached.put(features("a"))
    cached.put(features("a"))
    assert len(list(tmp_path.glob("part-*.npz"))) == 1
    cached.put({})
    assert len(list(tmp_path.glob("part-*.npz"))) == 1


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    sets = [{digest(f"{who}-{n}"): torch.full((4,), float(10 * who + n)) for n in range(6)} for who in range(2)]
    faults: list[BaseException] = []

    def write(mine: dict[str, torch.Tensor]) -> None:
        try:
            cached = NetworkFeatures(tmp_path / "net")
            for image, row in mine.items():
                cached.put({image: row})
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(mine,)) for mine in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert same(NetworkFeatures(tmp_path / "net").get([*sets[0], *sets[1]]), sets[0] | sets[1])
    assert not list((tmp_path / "net").glob(".*.tmp"))


NETWORK = {"backbone": "net", "device": "cpu", "libraries": {"torch": "2.14"}}
UPGRADED = NETWORK | {"libraries": {"torch": "2.15"}}
IMAGES = features(*(f"image {n}" for n in range(PROBES + 8)))


def part_of(start: int, stop: int) -> dict[str, torch.Tensor]:
    return dict(list(IMAGES.items())[start:stop])


def test_after_an_upgrade_features_are_taken_over_once_enough_are_the_same(tmp_path: Path) -> None:
    NetworkFeatures(tmp_path / "old", NETWORK).put(IMAGES)
    new = NetworkFeatures(tmp_path / "new", UPGRADED)
    assert new.known(IMAGES) == set()
    new.put(part_of(0, PROBES - 1))
    assert new.known(IMAGES) == part_of(0, PROBES - 1).keys()  # one too few
    new.put(part_of(PROBES - 1, PROBES))
    for cached in (new, NetworkFeatures(tmp_path / "new", UPGRADED), NetworkFeatures(tmp_path / "old", NETWORK)):
        assert same(cached.get(list(IMAGES)), IMAGES)


def test_features_that_changed_by_a_bit_are_made_again(tmp_path: Path) -> None:
    NetworkFeatures(tmp_path / "old", NETWORK).put(IMAGES)
    new, today = NetworkFeatures(tmp_path / "new", UPGRADED), part_of(0, PROBES + 1)
    changed = {image: row.clone() for image, row in today.items()}
    row = changed[list(changed)[-1]]
    row[0] = torch.nextafter(row[0], torch.tensor(torch.inf))
    new.put(changed)
    new.put(part_of(PROBES + 1, PROBES + 4))
    assert same(new.get(list(IMAGES)), changed | part_of(PROBES + 1, PROBES + 4))


@pytest.mark.parametrize("change", [{"backbone": "other"}, {"device": "cuda"}, {"more": 1}, None], ids=str)
def test_features_of_another_network_or_device_are_not_compared(tmp_path: Path, change: dict[str, str] | None) -> None:
    NetworkFeatures(tmp_path / "old", NETWORK | (change or {})).put(IMAGES)
    if change is None:
        (tmp_path / "old" / FACTS).write_text("[" * 100_000)
    assert earlier_of(tmp_path / "new", UPGRADED) is None


def test_a_part_in_two_folders_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "features"
    NetworkFeatures(cache / "old", NETWORK).put(IMAGES)
    NetworkFeatures(cache / "new", UPGRADED).put(part_of(0, PROBES))
    found = list(cache.glob("*/part-*.npz"))
    assert len(found) == 2
    assert len({one.stat().st_ino for one in found}) == 1
    size = sum({one.stat().st_ino: one.stat().st_size for one in found}.values())
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", size)
    assert FeatureCache(cache).prune() == 0
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", size - 10)
    assert FeatureCache(cache).prune() > 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "empty"])
def test_a_damaged_part_is_removed_and_said_and_its_features_are_made_again(
    damage: str, tmp_path: Path, said: list[str]
) -> None:
    lost, kept = features("a", "b", width=64), features("c")
    NetworkFeatures(tmp_path).put(lost)
    (part,) = tmp_path.glob("part-*.npz")
    NetworkFeatures(tmp_path).put(kept)
    data = bytearray(part.read_bytes())
    if damage == "flipped":
        data[data.index(lost[digest("a")].numpy().tobytes()) + 5] ^= 1
    part.write_bytes(
        {"truncated": bytes(data[:-40]), "flipped": bytes(data), "foreign": b"x" * 90, "empty": b""}[damage]
    )
    cached = NetworkFeatures(tmp_path)
    found = cached.get([*lost, *kept])
    assert same(found, kept)
    assert not part.exists()
    assert [line for line in said if f"{part} is damaged" in line and "recomputed" in line] == said
    assert len(said) == 1
    assert cached.known(lost) == set()
    cached.put(lost)
    assert same(NetworkFeatures(tmp_path).get([*lost, *kept]), lost | kept)


def test_a_part_that_was_removed_meanwhile_is_no_error(tmp_path: Path, said: list[str]) -> None:
    NetworkFeatures(tmp_path).put(features("a"))
    cached = NetworkFeatures(tmp_path)
    assert cached.known([digest("a")])
    for part in tmp_path.glob("part-*.npz"):
        part.unlink()
    assert cached.get([digest("a")]) == {}
    assert said == []


def test_what_a_kill_left_is_cleaned(tmp_path: Path, left_by_a_kill: Callable[[Path], Path]) -> None:
    NetworkFeatures(tmp_path).put(features("a"))
    left_by_a_kill(tmp_path / "part-x.npz").write_bytes(b"half")
    assert NetworkFeatures(tmp_path).known([digest("a")])
    assert not list(tmp_path.glob(".*.tmp"))


def test_large_features_are_not_kept(tmp_path: Path) -> None:
    cached = NetworkFeatures(tmp_path)
    cached.put({digest("most"): torch.zeros(MOST_BYTES // 4)})
    cached.put({digest("more"): torch.zeros(MOST_BYTES // 4 + 1)})
    assert cached.known([digest("most"), digest("more")]) == {digest("most")}


def test_a_place_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    cached = NetworkFeatures(tmp_path / "file" / "net")
    cached.put(features("a"))
    cached.put(features("a", "b"))
    assert cached.get([digest("a")]) == {}
    assert len(said) == 1
    assert said[0].startswith("features are not cached: ")


def test_a_network_is_known_by_its_digest_device_and_libraries(tmp_path: Path) -> None:
    """Not by the metric's name: two metrics with one network share, one metric with two networks does not."""
    cache = FeatureCache(tmp_path)
    plain = SeenImage("seen_image", network="a")
    folders = {cache.features_of(plain).folder}
    assert cache.features_of(SeenImage("seen_image", network="a", prep="other")).folder in folders
    folders |= {cache.features_of(SeenImage("seen_image", network="b")).folder}
    folders |= {cache.features_of(SeenImage("seen_image", network="a", libraries="2")).folder}
    moved = SeenImage("seen_image", network="a")
    moved.device = torch.device("meta")
    folders |= {cache.features_of(moved).folder}
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path}
    assert (
        FeatureCache(tmp_path).features_of(plain).folder == cache.features_of(plain).folder
    )  # in the next process too


@pytest.mark.parametrize("value", ["off", "0", "No", " false "])
def test_the_switch(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = SeenImage("seen_image")
    FeatureCache(tmp_path).features_of(metric).put(features("a"))
    monkeypatch.setenv(VARIABLE, value)
    cached = FeatureCache(tmp_path).features_of(metric)
    assert isinstance(cached, NoNetworkFeatures)
    cached.put(features("b"))
    assert cached.known(features("a", "b")) == set()
    assert cached.get(list(features("a", "b"))) == {}
    assert len(list(tmp_path.rglob("part-*.npz"))) == 1
    monkeypatch.setenv(VARIABLE, "on")
    assert FeatureCache(tmp_path).features_of(metric).known([digest("a")])
    assert isinstance(FeatureCache(None).features_of(metric), NoNetworkFeatures)


def test_beyond_the_bound_what_was_used_longest_ago_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Used is read, not written: the oldest part stays if it was read last."""
    paths = {}
    for age, name in enumerate("abcd"):
        folder = tmp_path / f"net{age % 2}"
        before = set(folder.glob("*"))
        NetworkFeatures(folder).put(features(name))
        (paths[name],) = set(folder.glob("*")) - before
        os.utime(paths[name], (1000 + age, 1000 + age))
    assert same(NetworkFeatures(tmp_path / "net0").get([digest("a")]), features("a"))
    size = paths["a"].stat().st_size
    cache = FeatureCache(tmp_path)
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", 4 * size)
    assert cache.prune() == 0
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", 2 * size)
    assert cache.prune() == 2
    assert [name for name, path in paths.items() if path.exists()] == ["a", "d"]
    assert same(NetworkFeatures(tmp_path / "net1").get([digest("d")]), features("d"))
    assert NetworkFeatures(tmp_path / "net1").known([digest("b")]) == set()  # it is computed again


def test_without_a_cache_nothing_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NetworkFeatures(tmp_path / "net").put(features("a"))
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", 0)
    monkeypatch.setenv(VARIABLE, "off")
    assert FeatureCache(tmp_path).prune() == 0
    assert len(list((tmp_path / "net").glob("part-*.npz"))) == 1


def test_parts_that_cannot_be_deleted_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NetworkFeatures(tmp_path / "net").put(features("a"))
    monkeypatch.setattr(feature_cache, "MOST_TOTAL", 0)
    monkeypatch.setattr(feature_cache, "remove_damaged", lambda _: False)
    assert FeatureCache(tmp_path).prune() == 0
