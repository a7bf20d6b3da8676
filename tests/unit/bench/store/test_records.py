from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.store.manifest_schema import validated
from bench.store.records import BadImage, ImageRow, Manifest, ScoreRow, migrate, migrate_manifest


def manifest() -> Manifest:
    return Manifest(
        suite="shapes",
        method="refl",
        run="refl@00c0ffee",
        identity={},
        resolved_suite={"name": "shapes"},
        resolved_method={"name": "refl"},
        prompts=[{"id": "p1", "text": "a red circle", "tags": []}],
        samples=5,
        trained_on=["pickscore"],
    )


def read(data: dict[str, Any], where: str = "x/refl@00c0ffee/manifest.json", run: str = "refl@00c0ffee") -> Manifest:
    path = Path(where)
    return validated(migrate_manifest(data, where), path, path.parent, run)


def test_a_manifest_survives_json() -> None:
    first = manifest()
    data = json.loads(json.dumps(first.to_dict()))
    assert list(data)[:2] == ["schema_version", "status"]
    assert read(data) == first
    assert first.status == "running"
    assert not first.complete


def test_an_unknown_key_is_refused_with_the_one_it_looks_like() -> None:
    with pytest.raises(UsageError, match=r"manifest\.json has an unknown key 'sampels' .* Did you mean 'samples'\?"):
        read(manifest().to_dict() | {"sampels": 1})


def test_a_manifest_from_before_the_notes_opens() -> None:
    data = manifest().to_dict()
    del data["notes"]
    assert read(data) == manifest()


WRONG: list[tuple[str, Any, str]] = [
    ("samples", "5", "samples: input should be a valid integer, got '5'"),
    ("samples", True, "samples: input should be a valid integer, got True"),
    ("samples", 10**9, "samples: input should be less than or equal to 100000"),
    ("suite", "../../x", "suite: must be 1 to 100 of"),
    ("suite", ["tiny"], "suite: input should be a valid string"),
    ("status", "finished", "status: input should be 'running' or 'complete'"),
    ("trained_on", 5, "trained_on: input should be a valid list"),
    ("counts", {"images": -1}, "counts.images: input should be greater than or equal to 0"),
    ("timings", {"generate_seconds": "long"}, "timings.generate_seconds"),
    ("notes", {"fid": "biased"}, "notes.fid: input should be a valid list"),
    ("cards", {"fid": []}, "cards.fid: input should be a valid dictionary"),
    ("prompts", [{"id": "../p1", "text": "x"}], "prompts: must be 1 to 100 of"),
    ("prompts", [{"id": "p1", "text": None}], "prompt 1 must have strings as id and text"),
    ("prompts", [{"id": "p1"}], "prompt 1 must have an id, a text and tags"),
    ("prompts", [{"id": "p1", "text": "x"}] * 2, "two prompts have one id"),
    ("run", "refl@00C0FFEE", "run: must be <method>@<8 hex digits>"),
    ("identity", [1], "identity: input should be a valid dictionary"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_a_wrong_entry_is_one_sentence(key: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(manifest().to_dict() | {key: value})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_in_another_folder_is_refused() -> None:
    data = manifest().to_dict()
    with pytest.raises(UsageError, match=r"is of run refl@00c0ffee, but lies in the folder of base@00c0ffee"):
        read(data, run="base@00c0ffee")
    with pytest.raises(UsageError, match=r"is of suite shapes, but lies in the folder of other"):
        read(data, "runs/other/refl@00c0ffee/manifest.json")


@pytest.mark.parametrize("identity", [{"sampling_version": 1, "seed": 42}, {"sampling_version": float("nan")}])
def test_an_identity_that_does_not_give_the_name_is_refused(identity: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is damaged: its identity has"):
        read(manifest().to_dict() | {"identity": identity})


def test_a_newer_schema_says_which_and_to_upgrade() -> None:
    with pytest.raises(UsageError) as caught:
        read(manifest().to_dict() | {"schema_version": 3}, "runs/x/manifest.json")
    assert str(caught.value) == (
        "runs/x/manifest.json was written by a newer version (schema 3, this one reads up to 2): "
        "upgrade imagerefl-bench"
    )


@pytest.mark.parametrize("version", [None, 0, -1, "1", True, 1.0])
def test_a_senseless_schema_is_refused(version: object) -> None:
    with pytest.raises(UsageError, match="no usable schema_version"):
        read(manifest().to_dict() | {"schema_version": version})


def test_a_foreign_json_file_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(UsageError, match="not a manifest of bench: it lacks suite, method, run"):
        read({"schema_version": 1})


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
