"""The reference images of set metrics are told by their content, and taken as generated images are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.errors import MissingError
from bench.scoring.chunk import Tools
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.reader import reading
from bench.scoring.reference import reference_identity, reference_sources, reference_statistics
from bench.suite.schema import Reference
from metrics.set.moments import Moments
from tests.unit.bench.scoring.fakes import SeenSet


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


def test_statistics_are_kept_for_the_libraries_and_the_kind_of_device_that_made_them(tmp_path: Path) -> None:
    """As features are: equal up to the last digit is not equal."""
    reference = Reference(kind="shapes", count=4, seed=3)
    other = SeenSet("seen_set")
    other.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    metrics = [SeenSet("seen_set"), SeenSet("seen_set"), SeenSet("seen_set", libraries="2"), other]
    with reading() as reader:
        counts = []
        for metric in metrics:
            metric.embed_inputs = SeenSet("seen_set").embed_inputs  # type: ignore[method-assign]
            reference_statistics(metric, Moments, reference, tmp_path, Tools(reader, FeatureCache(None)))
            counts.append(len(list(tmp_path.glob("*.npz"))))
    assert counts == [1, 1, 2, 3]
