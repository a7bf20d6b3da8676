"""Images from elsewhere through `bench.score`: their notes on every value, two folders without prompts, references."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench
import metrics
from bench.errors import MissingError, UsageError
from bench.store.runs import read_run
from tests.tolerance import assert_close

INCEPTION = Path(bench.__file__).parent / "shapes" / "weights" / "inception"


def pictures(folder: Path, seed: int, count: int, ending: str = "png") -> Path:
    """Smooth noise, some of it in a subfolder."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = folder / ("more" if number % 3 == 2 else "") / f"{number:03d}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return folder


def opened(folder: Path) -> list[Image.Image]:
    return [Image.open(path) for path in folder.rglob("*.*")]


def value_of(store, metric: str = "fid") -> float:
    (row,) = store.scores(metric)
    assert row.reason is None
    return row.value


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """Two folders, and the distance between them by the metric itself."""
    folder = tmp_path_factory.mktemp("two")
    a, b = pictures(folder / "a", 0, 14), pictures(folder / "b", 1, 17)
    fid = metrics.load("fid", weights=str(INCEPTION))
    return a, b, fid.distance(fid.statistics(opened(a)), fid.statistics(opened(b)))


@pytest.mark.slow
def test_two_folders_without_prompts(two: tuple[Path, Path, float], tmp_path: Path) -> None:
    a, b, wanted = two
    common = {"suite": "shapes", "metrics": ["fid"], "results": tmp_path / "results", "device": "cpu"}
    (store,) = bench.score(images=a, reference=b, **common)
    assert_close([value_of(store)], [wanted])
    assert (store.manifest().method, store.manifest().complete) == ("a", True)
    assert store.manifest().resolved_suite["reference"]["path"] == str(b)
    made = bench.make_reference(b, "fid", tmp_path / "b.npz", suite="shapes", device="cpu")
    (again,) = bench.score(images=a, reference=made, name="again", **common)
    assert_close([value_of(again)], [wanted])
    with np.load(made) as held:
        np.savez(tmp_path / "theirs.npz", mu=held["mu"], sigma=held["sigma"])
    (theirs,) = bench.score(
        images=a, reference=tmp_path / "theirs.npz", reference_network="fid", name="theirs", **common
    )
    assert_close([value_of(theirs)], [wanted])
    assert "given statistics of unstated images" in theirs.manifest().notes["fid"][0]
    with pytest.raises(UsageError, match="exists: choose another name"):
        bench.make_reference(b, "fid", made, suite="shapes")


@pytest.mark.slow
def test_lossy_images_are_noted_on_every_value(two: tuple[Path, Path, float], tmp_path: Path) -> None:
    images = pictures(tmp_path / "a", 0, 6, "jpg")
    common = {"suite": "shapes", "metrics": ["fid"], "results": tmp_path / "results", "device": "cpu"}
    with pytest.raises(UsageError, match="--allow-lossy"):
        bench.score(images=images, reference=two[1], **common)
    (store,) = bench.score(images=images, reference=two[1], allow_lossy=True, **common)
    note = "6 of 6 images are JPEG files, lossy: compression artefacts change scores"
    assert note in store.manifest().notes["fid"]
    prompts = tmp_path / "p.txt"
    prompts.write_text("a red circle\na blue star\n")
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(2):
        Image.open(images / f"{number:03d}.jpg").save(flat / f"{number}.jpg")
    (store,) = bench.score(
        images=flat, prompts=prompts, allow_lossy=True, name="x", **common | {"metrics": ["pickscore", "lpips"]}
    )
    note = note.replace("6 of 6", "2 of 2")
    assert all(note in store.manifest().notes[name] for name in ("pickscore", "lpips"))
    assert note in read_run(store).notes["pickscore"]
    assert all(math.isfinite(row.value) for row in store.scores("pickscore"))


def test_the_suite_images_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="suite 'images' has no model: it scores images from elsewhere"):
        bench.run("images", ["base"], results=tmp_path)
    with pytest.raises(UsageError, match="suite 'images' has no model"):
        bench.plan("images", ["base"], results=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ["fid"]}, "metric 'fid' compares with reference images, but suite 'images' has none: pass --ref"),
        ({"metrics": ["pickscore"], "reference": "b"}, "metric 'pickscore' needs prompts: pass --prompts FILE"),
        ({"reference": "b"}, "scores set metrics only: name them, for example --metrics fid"),
        ({"metrics": ["fidd"], "reference": "b"}, "unknown metric 'fidd'. Did you mean 'fid'?"),
        ({"metrics": ["fid"], "reference": "b", "layout": "flat"}, "--layout has no meaning without --prompts"),
        ({}, "--images also needs --suite and --prompts and --name; --suite images is the one with the published"),
        (
            {"prompts": "p.txt", "name": "x", "suite": "images", "reference_network": "fid"},
            "--reference-network applies",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict, words: str) -> None:
    pictures(tmp_path / "a", 0, 3)
    with pytest.raises(UsageError) as caught:
        bench.score(images=tmp_path / "a", results=tmp_path / "results", **options)
    assert words in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_reference_that_is_not_there_is_told_before_an_image_is_copied(tmp_path: Path) -> None:
    pictures(tmp_path / "a", 0, 3)
    with pytest.raises(MissingError, match="the reference folder .*none does not exist"):
        bench.score(images=tmp_path / "a", reference=tmp_path / "none", metrics=["fid"], results=tmp_path / "results")
    assert not (tmp_path / "results").exists()
