"""A working folder and its store: what is removed, replaced and kept after a command was killed or files were lost."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import MissingError, UsageError
from bench.store.names_in_stores import folder_of
from bench.store.object_store import ObjectStore
from bench.store.records import ImageRow, ScoreRow
from bench.store.run_store import RunStore
from bench.store.working_folder import WorkingFolder

pytest_plugins = ["tests.unit.bench.store.object_stores"]

RUN = "runs/tiny/base@00000000"
OLD, NEW = {"version": "1", "digest": "old"}, {"version": "2", "digest": "new"}


@pytest.fixture
def folder(bucket: str) -> WorkingFolder:
    """A run of two pictures and three values, in the folder and in the store."""
    folder = WorkingFolder(ObjectStore(bucket), folder_of(bucket))
    folder.fetch(pictures=True)
    for sample in (0, 1):
        save(folder.path, sample, b"picture %d" % sample)
    for value in (1.0, 2.0, 3.0):
        score(folder.path, value, OLD)
    folder.send()
    return folder


@pytest.fixture
def elsewhere(bucket: str, folder: WorkingFolder, tmp_path: Path) -> Callable[[], RunStore]:
    """The run as another machine finds it now."""

    def look() -> RunStore:
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        WorkingFolder(ObjectStore(bucket), tmp_path / "other").fetch(pictures=True)
        return RunStore(tmp_path / "other" / RUN)

    return look


def save(results: Path, sample: int, data: bytes, *, recorded: bool = True) -> None:
    store = RunStore(results / RUN)
    path, sha256 = store.save_image("p1", sample, data)
    if recorded:
        store.append_images([ImageRow("p1", "a circle", sample, 1, path, sha256, 0.1)])


def score(results: Path, value: float, card: dict[str, str]) -> None:
    RunStore(results / RUN).append_scores("clip", [ScoreRow("p1", 0, value)], card)


def values(store: RunStore) -> tuple[str | None, list[float]]:
    card = store.score_card("clip")
    return card and card["digest"], [row.value for row in store.scores("clip")]


def pictures(store: ObjectStore) -> list[bytes | None]:
    return [store.read(name) for name in sorted(store.sizes()) if name.endswith(".png")]


@pytest.mark.slow
def test_pictures_that_were_lost_here_stay_in_the_store(folder: WorkingFolder) -> None:
    shutil.rmtree(folder.path / "runs")
    folder.fetch(pictures=False)
    folder.send()
    assert pictures(folder.store) == [b"picture 0", b"picture 1"]


def test_what_a_command_itself_removes_is_gone_from_the_store(folder: WorkingFolder) -> None:
    folder.fetch(pictures=False)
    (folder.path / RUN / "images/p1/0.png").unlink()
    folder.send()
    assert pictures(folder.store) == [b"picture 1"]


def test_old_values_never_lie_beside_the_card_of_a_killed_rescore(
    folder: WorkingFolder, elsewhere: Callable[[], RunStore]
) -> None:
    score(folder.path, 9.0, NEW)
    folder.send(all_of_it=False)  # and killed
    assert values(elsewhere()) == ("new", [9.0])


@pytest.mark.slow
@pytest.mark.parametrize("after", range(8))
def test_a_send_that_breaks_off_leaves_no_values_under_another_card(
    folder: WorkingFolder, elsewhere: Callable[[], RunStore], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    score(folder.path, 9.0, NEW)
    count = [0]
    remove = ObjectStore.remove

    def cut(patch: pytest.MonkeyPatch, kind: str) -> None:
        whole = getattr(ObjectStore, kind)

        def writing(self: ObjectStore, name: str, *data: bytes) -> object:
            count[0] += 1
            if count[0] > after:
                raise MissingError("the network is gone")
            return whole(self, name, *data)

        patch.setattr(ObjectStore, kind, writing)

    def remove_each(self: ObjectStore, names: list[str]) -> None:
        for name in names:
            count[0] += 1
            if count[0] > after:
                raise MissingError("the network is gone")
            remove(self, [name])

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "remove", remove_each)
        for kind in ("create", "replace"):
            cut(patch, kind)
        with pytest.raises(MissingError, match="the network is gone"):
            folder.send(all_of_it=False)
    # Old values whose card is gone already are still of the card in the run's manifest.
    assert values(elsewhere()) in [("old", [3.0]), (None, [3.0]), (None, []), ("new", [])]
    folder.fetch(pictures=False)
    assert values(RunStore(folder.path / RUN)) == ("new", [9.0])
    folder.send()
    assert values(elsewhere()) == ("new", [9.0])


def test_a_rescore_that_was_not_sent_does_not_get_the_old_values_back(
    folder: WorkingFolder, elsewhere: Callable[[], RunStore]
) -> None:
    score(folder.path, 9.0, NEW)  # and killed before anything was sent
    folder.fetch(pictures=False)
    assert values(RunStore(folder.path / RUN)) == ("new", [9.0])
    folder.send()
    assert values(elsewhere()) == ("new", [9.0])


def test_values_that_were_not_sent_go_when_the_card_of_somebody_else_is_taken(
    bucket: str, folder: WorkingFolder, tmp_path: Path
) -> None:
    other = WorkingFolder(ObjectStore(bucket), tmp_path / "second")
    other.fetch(pictures=True)
    score(other.path, 5.0, {"version": "3", "digest": "third"})
    other.send()
    score(folder.path, 9.0, NEW)
    folder.fetch(pictures=False)
    assert values(RunStore(folder.path / RUN)) == ("third", [5.0])


def test_a_picture_that_was_made_again_is_kept_and_sent(
    folder: WorkingFolder, elsewhere: Callable[[], RunStore]
) -> None:
    save(folder.path, 0, b"picture Z")  # of equal size
    folder.fetch(pictures=True)
    assert (folder.path / RUN / "images/p1/0.png").read_bytes() == b"picture Z"
    folder.send()
    there = elsewhere()
    assert (there.path / "images/p1/0.png").read_bytes() == b"picture Z"
    assert {row.sha256 for row in there.images()} == {
        hashlib.sha256(data).hexdigest() for data in (b"picture Z", b"picture 1")
    }


def test_a_picture_that_nothing_records_is_an_error_and_the_next_fetch_mends_it(folder: WorkingFolder) -> None:
    save(folder.path, 0, b"picture Z", recorded=False)
    folder.send(all_of_it=False)
    with pytest.raises(UsageError, match="is there with other content"):
        folder.send()
    folder.fetch(pictures=False)
    assert (folder.path / RUN / "images/p1/0.png").read_bytes() == b"picture 0"
    folder.send()


def test_a_picture_made_again_in_two_places_is_an_error(bucket: str, folder: WorkingFolder, tmp_path: Path) -> None:
    other = WorkingFolder(ObjectStore(bucket), tmp_path / "second")
    other.fetch(pictures=True)
    save(other.path, 0, b"picture X")
    other.send()
    save(folder.path, 0, b"picture Z")
    with pytest.raises(UsageError, match="is there with other content"):
        folder.send()
