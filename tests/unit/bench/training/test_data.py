"""Folders, repositories and prompts as training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import MissingError, UsageError
from bench.suite.load import load_suite
from bench.suite.schema import Suite
from bench.training.data import DatasetsData, FolderData, PromptData, ShapesData, data_for
from bench.training.pictures import to_picture

if TYPE_CHECKING:
    pass


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def picture(shade: int, size: tuple[int, int] = (80, 64)) -> Image.Image:
    return Image.new("RGB", size, (shade, 0, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade in (10, 200):
        picture(shade).save(tmp_path / f"{shade}.png")
        (tmp_path / f"{shade}.txt").write_text(f"shade {shade}\n")
    return tmp_path


def check_pairs(data: Any) -> None:
    """Pictures come with their own captions, in the range and size of the model, and a seed names a batch."""
    images, captions = data.pictures(8, rng())
    assert images.shape == (8, 3, 64, 64)
    assert {float(image[0].min()) for image in images} == {
        float(np.float32(v) * 2 - 1) for v in (np.float32(10) / 255, np.float32(200) / 255)
    }
    for image, caption in zip(images, captions, strict=True):
        shade = round(float((image[0, 0, 0] + 1) / 2 * 255))
        assert caption == f"shade {shade}"
    again, texts = data.pictures(8, rng())
    assert torch.equal(images, again)
    assert texts == captions
    assert set(data.captions(20, rng())) == {"shade 10", "shade 200"}


def test_a_folder_with_text_files(folder: Path) -> None:
    check_pairs(FolderData(folder, 64))


def test_a_folder_with_metadata(folder: Path) -> None:
    lines = [{"file_name": "10.png", "text": "shade 10"}, {"file_name": "200.png", "caption": ["shade 200"]}]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    (folder / "extra.png").write_bytes(b"not named, so not read")
    check_pairs(FolderData(folder, 64))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "contains no images"),
        ({"a.png": None}, "a.png have no caption"),
        ({"a.png": None, "a.txt": " \n"}, "a.png have no caption"),
        ({**{f"{n}.png": None for n in range(5)}}, "0.png, 1.png, 2.png and 2 more have no caption"),
        ({"metadata.jsonl": "\n"}, "lists no images"),
        ({"metadata.jsonl": '{"file_name": "a.png"}\n'}, "line 1 must be"),
        ({"metadata.jsonl": '\n{"file_name": "gone.png", "text": "x"}\n'}, "line 2 names gone.png"),
        ({"metadata.jsonl": "[]\n"}, "line 1 must be"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path: Path, files: dict[str, str | None], said: str) -> None:
    for name, content in files.items():
        if content is None:
            picture(1).save(tmp_path / name)
        else:
            (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        FolderData(tmp_path, 64)


def test_a_damaged_image_is_named(folder: Path) -> None:
    for name in ("10.png", "200.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
    with pytest.raises(UsageError, match=r"0\.png cannot be read as an image"):
        FolderData(folder, 64).pictures(1, rng())


def test_pictures_are_resized_and_cropped_in_the_middle() -> None:
    image = Image.new("RGB", (128, 64), (0, 0, 0))
    image.paste((255, 255, 255), (32, 0, 96, 64))
    found = to_picture(image, 64)
    assert found.shape == (3, 64, 64)
    assert float(found.min()) == 1.0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [picture(10), picture(200)], "text": ["shade 10", ["shade 200"][0]], "id": [1, 2]}
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string"), "id": datasets.Value("int64")}
    )
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_repository_of_the_datasets_library(repository: Path, suite: Suite) -> None:
    data = data_for(suite, str(repository), True)
    assert isinstance(data, DatasetsData)
    check_pairs(data)


def test_a_repository_without_captions(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"image": [picture(1)]}).cast_column("image", datasets.Image()).save_to_disk(
        tmp_path / "saved"
    )
    with pytest.raises(UsageError, match="has no caption column"):
        DatasetsData(str(tmp_path / "saved"), 64)


def test_a_repository_that_is_not_there() -> None:
    pytest.importorskip("datasets")
    with pytest.raises(MissingError, match="neither a folder nor a readable dataset"):
        DatasetsData("nobody/nothing-at-all", 64)


def test_the_package_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingError, match="pip install datasets"):
        DatasetsData("owner/name", 64)


def test_what_a_suite_offers(suite: Suite) -> None:
    data = data_for(suite, None, False)
    assert isinstance(data, PromptData)
    assert set(data.captions(20, rng())) == {
        "a red circle",
        "a blue square on a white background",
        "a large green star",
    }
    for ask in (lambda: data_for(suite, None, True), lambda: data.pictures(1, rng())):
        with pytest.raises(MissingError, match="needs real images with captions: pass as --data"):
            ask()
    assert isinstance(data_for(load_suite("shapes"), None, True), ShapesData)


def test_shapes_are_drawn_on_the_spot() -> None:
    images, captions = ShapesData().pictures(3, rng())
    assert images.shape == (3, 3, 64, 64)
    assert -1 <= float(images.min()) < float(images.max()) <= 1
    assert len(captions) == len(ShapesData().captions(3, rng())) == 3
