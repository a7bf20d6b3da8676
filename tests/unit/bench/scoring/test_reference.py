"""The reference images of set metrics are told by their content, and taken as generated images are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import MissingError
from bench.reference import reference_identity, reference_sources
from bench.suite import Reference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for level in range(3):
        Image.new("RGB", (8, 8), (level, 40, 90)).save(tmp_path / "a" / f"{level}.png")
    return tmp_path / "a"


def identity(folder: Path) -> dict[str, object]:
    return reference_identity(Reference(kind="folder", path=str(folder)))


def test_a_copy_is_the_same_reference(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "b", copy_function=shutil.copyfile)
    for path in (tmp_path / "b").iterdir():
        os.utime(path, (1, 1))
    assert identity(tmp_path / "b") == identity(folder)


def test_other_images_of_equal_size_and_time_are_another_reference(folder: Path) -> None:
    before, path = identity(folder), folder / "1.png"
    facts = path.stat()
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1
    path.write_bytes(bytes(changed))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert path.stat().st_mtime_ns == facts.st_mtime_ns
    assert identity(folder) != before


def opened(folder: Path) -> list[Image.Image]:
    return [get() for chunk in reference_sources(Reference(kind="folder", path=str(folder))) for _, get in chunk]


def test_images_come_in_their_own_mode(folder: Path) -> None:
    Image.new("RGBA", (8, 8), (1, 2, 3, 0)).save(folder / "3.png")
    assert [image.mode for image in opened(folder)] == ["RGB", "RGB", "RGB", "RGBA"]


def test_what_no_metric_takes_is_refused_by_name(folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(folder / "2.png")
    with pytest.raises(MissingError, match=r"reference image .*2\.png: has mode 'I;16', which has no agreed"):
        opened(folder)
    (folder / "2.png").write_bytes(b"no image")
    with pytest.raises(MissingError, match=r"reference image .*2\.png cannot be used \(it cannot be decoded"):
        opened(folder)
