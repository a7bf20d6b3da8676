"""Layouts that people have: each is read with its own captions, or refused by what it is."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import BenchError, UsageError
from bench.suite.schema import Suite
from bench.training.data import PictureData, data_for

if TYPE_CHECKING:
    pass

SHADES = {"0": 10, "1": 90, "2": 170, "3": 250}
ROWS = [{"file_name": f"{name}.png", "text": f"shade {shade}"} for name, shade in SHADES.items()]


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (72, 64), (shade, 0, 0))


def png(shade: int) -> bytes:
    file = io.BytesIO()
    picture(shade).save(file, "PNG")
    return file.getvalue()


def images(folder: Path, ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, shade in SHADES.items():
        picture(shade).save(folder / f"{name}.{ending}", quality=100, subsampling=0)
    return folder


def jsonl(folder: Path, rows: list[dict[str, Any]], start: str = "") -> None:
    text = start + "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def table_csv(folder: Path) -> None:
    with (images(folder) / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "text"])
        writer.writeheader()
        writer.writerows(ROWS)


def beside(folder: Path, ending: str) -> None:
    for name, shade in SHADES.items():
        (images(folder) / f"{name}{ending}").write_text(f"shade {shade}\n")


def upper(folder: Path) -> None:
    beside(folder, ".txt")
    for name in SHADES:
        (folder / f"{name}.png").rename(folder / f"{name}.PNG")


def a_line_a_caption(folder: Path) -> None:
    jsonl(images(folder), [*ROWS, *ROWS])


def parts(folder: Path) -> None:
    jsonl(images(folder / "train"), ROWS)
    picture(0).save(images(folder / "test") / "other.png")
    (folder / "test" / "metadata.jsonl").write_text('{"file_name": "other.png", "text": "of the test part"}\n')


def webdataset(folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for name, shade in SHADES.items():
            caption = json.dumps({"caption": f"shade {shade}"}).encode()
            for ending, data in (("png", png(shade)), ("txt", f"shade {shade}".encode()), ("json", caption)):
                info = tarfile.TarInfo(f"00000{name}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    rows = [
        {"image": {"bytes": png(shade), "path": f"{name}.png"}, "text": f"shade {shade}"}
        for name, shade in SHADES.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")


def parquet_table(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), images(folder) / "metadata.parquet")


def saved(folder: Path) -> None:
    import datasets

    rows = {"image": [picture(shade) for shade in SHADES.values()], "text": [row["text"] for row in ROWS]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(folder)


def coco(folder: Path) -> None:
    images(folder / "train2017")
    (folder / "annotations").mkdir()
    data = {
        "images": [{"id": number, "file_name": row["file_name"]} for number, row in enumerate(ROWS)],
        "annotations": [{"image_id": number, "caption": row["text"]} for number, row in enumerate(ROWS)],
    }
    (folder / "annotations" / "captions_train2017.json").write_text(json.dumps(data))
    (folder / "annotations" / "captions_val2017.json").write_text(json.dumps(data))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "metadata.jsonl": lambda folder: jsonl(images(folder), ROWS),
    "metadata.jsonl, a line a caption": a_line_a_caption,
    "metadata.csv": table_csv,
    "metadata.parquet": parquet_table,
    "metadata.json": lambda folder: (images(folder) / "metadata.json").write_text(json.dumps(ROWS)) and None,
    "train/metadata.jsonl": lambda folder: jsonl(images(folder / "train"), ROWS),
    "train/ and test/": parts,
    "a byte order mark": lambda folder: jsonl(images(folder), ROWS, "\ufeff"),
    "Windows paths": lambda folder: jsonl(images(folder), [{**r, "file_name": f".\\{r['file_name']}"} for r in ROWS]),
    "kohya's folders": lambda folder: beside(folder / "10_shapes", ".txt"),
    "kohya's .caption": lambda folder: beside(folder / "10_shapes", ".caption"),
    "endings in capitals": upper,
    "WebDataset": webdataset,
    "parquet": parquet,
    "saved by datasets": saved,
    "COCO": coco,
}


def check(data: Any) -> None:
    """Each picture comes with its own caption, and all of them come."""
    assert isinstance(data, PictureData)
    found, captions = data.pictures(40, np.random.default_rng(0))
    assert found.shape == (40, 3, 64, 64)
    for image, caption in zip(found, captions, strict=True):
        assert caption == f"shade {round(float((image[0, 32, 32] + 1) / 2 * 255))}"
    assert set(captions) == {f"shade {shade}" for shade in SHADES.values()}
    assert data.listing() == data.listing()


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read(name: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    LAYOUTS[name](tmp_path / "data")
    check(data_for(suite, str(tmp_path / "data"), True))


def test_a_part_that_is_not_read_is_said(suite: Suite, tmp_path: Path, said: list[str]) -> None:
    parts(tmp_path / "data")
    data_for(suite, str(tmp_path / "data"), True)
    assert any("training on train only, not on test" in line for line in said)


@pytest.mark.parametrize("name", ["captions_train2017.json", "metadata.csv"])
def test_the_table_itself_may_be_given(name: str, suite: Suite, tmp_path: Path) -> None:
    {"metadata.csv": table_csv, "captions_train2017.json": coco}[name](tmp_path)
    [path] = tmp_path.rglob(name)
    check(data_for(suite, str(path), True))


@pytest.mark.parametrize("column", ["additional_feature", "en_text"])
def test_a_column_of_another_name_is_asked_for(column: str, suite: Suite, tmp_path: Path) -> None:
    jsonl(images(tmp_path), [{"file_name": row["file_name"], column: row["text"]} for row in ROWS])
    with pytest.raises(UsageError, match=f"line 1 must be .* give --caption-column one of {column}"):
        data_for(suite, str(tmp_path), True)
    check(data_for(suite, str(tmp_path), True, column=column))
    with pytest.raises(UsageError, match=f"has no column 'nothing'.* it has file_name, {column}"):
        data_for(suite, str(tmp_path), True, column="nothing")


def test_a_column_inside_another(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    webdataset(tmp_path / "data")
    plain = data_for(suite, str(tmp_path / "data"), True)
    inner = data_for(suite, str(tmp_path / "data"), True, column="json.caption")
    check(inner)
    assert plain.listing() != inner.listing()
    with pytest.raises(UsageError, match=r"has no 'json.title' \(--caption-column\): its columns are"):
        data_for(suite, str(tmp_path / "data"), True, column="json.title")


def broken(folder: Path) -> None:
    jsonl(images(folder), ROWS)
    (folder / "metadata.jsonl").write_bytes(b"\xff\xfe not utf-8")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no pictures": (lambda folder: (folder / "a.tif").write_bytes(b"x"), "contains no images .* but 1 .tif"),
    "nothing": (lambda folder: None, "contains no images .* but no files"),
    "an empty caption": (lambda folder: [beside(folder, ".txt"), (folder / "1.txt").write_text("")], "1.png have no c"),
    "several tables": (
        lambda folder: [jsonl(images(folder / name), ROWS) for name in ("a", "b")],
        r"several tables of images \(a/metadata.jsonl, b/metadata.jsonl\)",
    ),
    "another encoding": (broken, "cannot be read as UTF-8"),
    "a table without pictures": (lambda folder: jsonl(images(folder), [{"url": "x", "text": "y"}]), "names no picture"),
    "JSON of another kind": (
        lambda folder: (images(folder) / "metadata.json").write_text('{"a": 1}'),
        "must be a list of",
    ),
    "COCO without its pictures": (
        lambda folder: [coco(folder), (folder / "train2017" / "2.png").unlink()],
        "names 2.png, which is in none of train2017, images/train2017",
    ),
    "COCO of another kind": (
        lambda folder: (images(folder) / "captions_x.json").write_text('{"images": []}'),
        "is not COCO's form of captions",
    ),
    "parquet and tars": (
        lambda folder: [(folder / "a.parquet").write_bytes(b""), (folder / "a.tar").write_bytes(b"")],
        "has parquet files and tars",
    ),
    "a damaged parquet file": (lambda folder: (folder / "a.parquet").write_bytes(b"PAR1"), "readable dataset"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layout_is_refused_by_what_it_is(
    name: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    make, sentence = REFUSED[name]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(BenchError, match=sentence):
        data_for(suite, str(tmp_path / "data"), True)


def test_a_column_needs_data(suite: Suite) -> None:
    with pytest.raises(UsageError, match="--caption-column requires --data"):
        data_for(suite, None, False, column="text")
