"""A data set of a run's images: every record leads to an image with its digest; mlcroissant reads it where it is."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.cli import main
from bench.errors import UsageError

fakes = runpy.run_path(str(Path(__file__).parents[4] / "data" / "judging" / "fakes.py"))
PROMPT = '=HYPERLINK("x"), "quoted"\u2028 ümlaut'


@pytest.fixture
def results(tmp_path: Path) -> Path:
    fakes["make"](
        tmp_path / "results", "base", prompts=3, samples=2, metrics=("lpips",), images=True, texts={1: PROMPT}
    )
    return tmp_path / "results"


def exported(results: Path, out: Path, **how: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    table, description = bench.export_croissant("base", out, results=results, **how)
    records = [json.loads(line) for line in table.read_text(encoding="utf-8").split("\n") if line]
    return records, json.loads(description.read_text(encoding="utf-8"))


def test_every_record_is_an_image_with_its_digest(results: Path, tmp_path: Path) -> None:
    records, _ = exported(results, tmp_path / "data")
    assert [(one["prompt_id"], one["sample"]) for one in records] == [
        (f"p000{prompt}", sample) for prompt in range(3) for sample in range(2)
    ]
    for one in records:
        assert hashlib.sha256((tmp_path / "data" / one["file"]).read_bytes()).hexdigest() == one["sha256"]
    assert records[2]["prompt"] == PROMPT  # as it is: no spreadsheet reads JSON Lines
    images = {path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data" / "images").rglob("*.png")}
    assert images == {one["file"] for one in records}


def test_the_description_has_what_version_1_0_asks_for(results: Path, tmp_path: Path) -> None:
    records, found = exported(
        results, tmp_path / "data", licence="CC-BY-4.0", creator="Me", url="https://example.org/data"
    )
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {"@context", "@type", "name", "description", "license", "url", "creator"} <= found.keys()
    assert found["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", found["name"])
    files = {one["@id"]: one for one in found["distribution"]}
    table = (tmp_path / "data" / "images.jsonl").read_bytes()
    assert files["images.jsonl"]["sha256"] == hashlib.sha256(table).hexdigest()
    (pattern,) = [one["includes"] for one in found["distribution"] if one["@type"] == "cr:FileSet"]
    assert {path.name for path in (tmp_path / "data").glob(pattern)} == {Path(one["file"]).name for one in records}
    (record_set,) = found["recordSet"]
    fields = {field["source"]["extract"]["column"] for field in record_set["field"]}
    assert fields == set(records[0])
    assert record_set["key"]["@id"] in {field["@id"] for field in record_set["field"]}
    assert all(field["source"]["fileObject"]["@id"] in files for field in record_set["field"])
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlcroissant_accepts_it_and_reads_the_records(results: Path, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed: pip install mlcroissant")
    records, _ = exported(results, tmp_path / "data", licence="CC-BY-4.0", creator="Me", url="https://example.org/data")
    data = mlcroissant.Dataset(jsonld=tmp_path / "data" / "croissant.json")
    assert not data.metadata.ctx.issues.errors
    found = [
        {key.partition("/")[2]: value.decode() if isinstance(value, bytes) else value for key, value in one.items()}
        for one in data.records("images")
    ]
    assert found == records


def test_what_is_not_said_is_absent_and_told(results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, found = exported(results, tmp_path / "data")
    assert not {"license", "creator", "url"} & found.keys()
    for key in ("license", "creator", "url"):
        assert f"croissant.json says no {key}: give --{key}" in caplog.text


def test_a_folder_with_something_in_it_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is there already and not empty"):
        exported(results, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine.txt"]


def test_a_damaged_or_missing_image_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next(results.rglob("images/p0001/0.png"))
    whole = image.read_bytes()
    image.write_bytes(whole[:-1] + b"x")
    arguments = ["export", "croissant", "base", "--results", str(results), "--out"]
    assert main([*arguments, str(tmp_path / "one")]) == 2
    assert "damaged" in capsys.readouterr().err
    image.unlink()
    assert main([*arguments, str(tmp_path / "two")]) == 2
    said = capsys.readouterr().err
    assert "error: " in said
    assert "Traceback" not in said
    assert not (tmp_path / "two").exists()


def test_several_runs_are_refused_by_name(results: Path, tmp_path: Path) -> None:
    fakes["make"](results, "refl", prompts=3, samples=2, metrics=("lpips",), images=True)
    with pytest.raises(UsageError, match=r"2 were found \(base@.*refl@"):
        bench.export_croissant(results, tmp_path / "data", results=results)
