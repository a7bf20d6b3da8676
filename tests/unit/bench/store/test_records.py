from __future__ import annotations

import json

import pytest

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.store.records import BadImage, ImageRow, Manifest, ScoreRow, migrate


def manifest() -> Manifest:
    return Manifest(
        suite="shapes",
        method="refl",
        run="refl@00c0ffee",
        identity={"seed": 42},
        resolved_suite={"name": "shapes"},
        resolved_method={"name": "refl"},
        prompts=[{"id": "p1", "text": "a red circle", "tags": []}],
        samples=5,
        trained_on=["pickscore"],
    )


def test_a_manifest_survives_json() -> None:
    first = manifest()
    data = json.loads(json.dumps(first.to_dict()))
    assert list(data)[:2] == ["schema_version", "status"]
    assert Manifest.from_dict(data) == first
    assert first.status == "running"
    assert not first.complete


def test_keys_that_nobody_knows_do_not_break_reading() -> None:
    assert Manifest.from_dict(manifest().to_dict() | {"added_by_a_patch_release": 1}) == manifest()


def test_a_manifest_from_before_the_notes_opens() -> None:
    data = manifest().to_dict()
    del data["notes"]
    assert Manifest.from_dict(data) == manifest()


def test_a_newer_schema_says_which_and_to_upgrade() -> None:
    with pytest.raises(UsageError) as caught:
        Manifest.from_dict(manifest().to_dict() | {"schema_version": 2}, "runs/x/manifest.json")
    assert str(caught.value) == (
        "runs/x/manifest.json was written by a newer version (schema 2, this one reads up to 1): "
        "upgrade imagerefl-bench"
    )


@pytest.mark.parametrize("version", [None, 0, -1, "1", True, 1.0])
def test_a_senseless_schema_is_refused(version: object) -> None:
    with pytest.raises(UsageError, match="no usable schema_version"):
        Manifest.from_dict(manifest().to_dict() | {"schema_version": version})


def test_a_foreign_json_file_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="not a manifest of bench: it lacks suite, method, run"):
        Manifest.from_dict({"schema_version": 1})


def test_older_versions_are_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.store.records.SCHEMA_VERSION", 3)
    steps = {1: lambda data: data | {"one": data["name"]}, 2: lambda data: data | {"two": data["one"] * 2}}
    assert migrate({"schema_version": 1, "name": "a"}, steps, "x") == {
        "schema_version": 3,
        "name": "a",
        "one": "a",
        "two": "aa",
    }
    assert migrate({"schema_version": 2, "one": "b"}, steps, "x")["two"] == "bb"


@pytest.mark.parametrize("name", ["a", "p0001", "hpsv2.1", "A-b_c.d", "x" * 100])
def test_safe_names(name: str) -> None:
    assert is_safe_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", ".hidden", "-x", "a/b", "a\\b", "a b", "é", "x" * 101, "a\n"])
def test_unsafe_names(name: str) -> None:
    assert not is_safe_name(name)


def test_rows_are_found_by_their_keys() -> None:
    assert ImageRow("p", "text", 3, 42, "images/p/3.png", "00", 0.1).key == ("p", 3)
    assert ScoreRow("p", None, 0.5).key == ("p", None)
    assert ScoreRow(None, None, 0.5).key == (None, None)


def test_only_an_image_that_was_there_is_damaged() -> None:
    assert BadImage("p", 0, "truncated").damaged
    assert not BadImage("p", 0, "not generated yet").damaged
