"""Objects: exclusive creates by many writers, what is refused, and the errors of clients."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.errors import MissingError, UsageError
from bench.store.object_store import ObjectStore, refuse_store, store_url

pytest_plugins = ["tests.unit.bench.store.object_stores"]


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/a", "s3://bucket/a"),
        (Path("s3://bucket/a/"), "s3://bucket/a"),
        ("gs://bucket", "gs://bucket"),
        ("results", None),
        ("/tmp/results", None),
        ("file:///tmp/results", None),
        ("c:/results", None),
        ("odd:/results", None),
    ],
)
def test_addresses_are_told_from_folders(path: str | Path, url: str | None) -> None:
    assert store_url(path) == url


@pytest.mark.parametrize("path", ["s3://", "s3:", Path("s3://"), "gs:///"])
def test_an_address_names_a_bucket(path: Path | str) -> None:
    with pytest.raises(UsageError, match="names no bucket: write (s3|gs)://BUCKET/PATH"):
        store_url(path)


@pytest.mark.slow
def test_of_many_writers_of_one_object_exactly_one_wins(bucket: str) -> None:
    stores = [ObjectStore(bucket) for _ in range(8)]
    for content in (b"the same", None):
        name = f"runs/{content!r}"
        start = threading.Barrier(8)

        def write(number: int, content: bytes | None = content, name: str = name) -> str:
            start.wait()  # noqa: B023
            try:
                return "won" if stores[number].create(name, content or f"writer {number}".encode()) else "equal"
            except UsageError as error:
                return str(error)

        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(write, range(8)))
        assert said.count("won") == 1
        there = stores[0].read(name)
        if content is not None:
            assert (there, said.count("equal")) == (content, 7)
            continue
        winner = said.index("won")
        assert there == f"writer {winner}".encode()
        for number, sentence in enumerate(said):
            if number != winner:
                assert hashlib.sha256(f"writer {number}".encode()).hexdigest() in sentence
                assert hashlib.sha256(there).hexdigest() in sentence


@pytest.mark.slow
def test_objects_are_listed_replaced_and_removed(bucket: str) -> None:
    store = ObjectStore(bucket)
    assert store.sizes() == {}
    store.create("runs/a", b"12")
    store.replace("runs/a", b"123")
    store.replace("runs/b/c", b"1")
    ObjectStore(f"{bucket}-other").replace("x", b"")
    assert store.sizes() == {"runs/a": 3, "runs/b/c": 1}
    store.remove(["runs/a", "runs/none"])
    assert store.read("runs/a") is None
    assert store.read("runs/b/c") == b"1"


def test_a_store_without_exclusive_creates_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(bucket)
    monkeypatch.setattr(store, "_created", lambda name, data: store.replace(name, data) or True)
    with pytest.raises(UsageError, match="no exclusive creates"):
        store.create("runs/a", b"1")
    assert store.sizes() == {}


def test_what_cannot_be_worked_on_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot be written to"):
        ObjectStore("https://host/results")
    with pytest.raises(UsageError, match="must not have a key in it"):
        ObjectStore("s3://key:secret@bucket/results")
    with pytest.raises(MissingError, match="no such bucket"):
        ObjectStore("s3://bench-none/results").create("runs/a", b"1")
    with pytest.raises(MissingError, match="needs the client of its store, which is not installed"):
        ObjectStore("gs://bucket/results")
    with pytest.raises(UsageError, match="is an object store"):
        refuse_store("s3://bucket/results")
    store = ObjectStore("s3://bench-away/r")

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(store._files, "find", fail)
    with pytest.raises(MissingError, match=r"cannot list s3://bench-away/r \(nobody answers\): check the address"):
        store.sizes()
