"""The reference images of set metrics are told by their content, and taken as generated images are."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.errors import MissingError, UsageError
from bench.scoring.chunk import Tools
from bench.scoring.feature_cache import FeatureCache
from bench.scoring.reader import reading
from bench.scoring.ready import check_metrics_load
from bench.scoring.reference import reference_identity, reference_sources, reference_statistics
from bench.suite.load import load_suite
from bench.suite.schema import Reference
from metrics.set.frechet import frechet_distance
from metrics.set.moments import Features, Moments
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


def sources(path: Path | str, **more: object) -> list[tuple[str, tuple[int, int]]]:
    reference = Reference.model_validate({"kind": "folder", "path": str(path), **more})
    return [(key, get().size) for chunk in reference_sources(reference) for key, get in chunk]


def test_subfolders_and_other_endings_are_taken(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a.JPEG", "b.tif", "c.webp", "d.avif", "e.gif", "deep/f.jpg", "deep/er/g.png"):
        Image.new("RGB", (9, 8)).save(folder / name)
    (folder / "._x.png").write_bytes(b"Mac OS X")
    (folder / "Thumbs.db").write_bytes(b"x")
    assert len(sources(folder)) == 3 + 7
    sources(folder)
    assert caplog.text.count("2 files that are no images are not used (._x.png, Thumbs.db)") == 1
    (folder / "photo.HEIC").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"photo.HEIC: this format is not read: save the reference images as PNG"):
        sources(folder)


def test_a_zip_is_the_folder_in_it(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        for path in folder.iterdir():
            made.write(path, path.name)
        made.writestr("__MACOSX/._0.png", b"x")
        made.writestr("readme.txt", b"x")
    zipped = Reference(kind="folder", path=str(tmp_path / "a.zip"))
    assert reference_identity(zipped) == identity(folder)
    assert sources(tmp_path / "a.zip") == sources(folder)
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-20])
    with pytest.raises(UsageError, match="neither a folder of images, nor a .zip of them, nor .npz statistics"):
        sources(tmp_path / "b.zip")


def test_a_link_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "secret")
    os.symlink(tmp_path / "secret", folder / "more")
    with pytest.raises(UsageError, match="more is a symbolic link that leaves the reference folder"):
        sources(folder)


def test_an_orientation_turns_reference_images_too(folder: Path) -> None:
    before = identity(folder)
    assert "upright" not in before
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 8)).save(folder / "0.png", exif=exif)
    after = identity(folder)
    assert after["upright"] == 1
    [(key, size), *_] = sources(folder)
    assert size == (8, 9)
    assert key != hashlib.sha256((folder / "0.png").read_bytes()).hexdigest()


def test_datasets(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    paths = sorted(str(path) for path in folder.iterdir())
    rows = datasets.Dataset.from_dict({"image": paths, "n": [1, 2, 3]}).cast_column("image", datasets.Image())
    rows.save_to_disk(str(tmp_path / "saved"))
    assert sources(tmp_path / "saved") == sources(folder)
    assert reference_identity(Reference(kind="folder", path=str(tmp_path / "saved")))["files"] == 3
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "split"))
    with pytest.raises(UsageError, match="has the splits train, test: name one, reference.split"):
        sources(tmp_path / "split")
    assert sources(tmp_path / "split", split="test") == sources(folder)
    with pytest.raises(UsageError, match="has no split 'tset': it has train, test"):
        sources(tmp_path / "split", split="tset")
    with pytest.raises(UsageError, match="has no images in column 'n'"):
        sources(tmp_path / "saved", column="n")
    with pytest.raises(MissingError, match="the reference dataset no/thing cannot be loaded"):
        sources("datasets:no/thing")


class Wide(SeenSet):
    """The fake with the two facts that statistics are checked by."""

    width = 4
    backbone = "wide"


def read(path: Path, network: str | None = None, kind: type = Moments) -> object:
    reference = Reference(kind="folder", path=str(path), network=network)
    return reference_statistics(Wide("seen_set"), kind, reference, path.parent, None)  # type: ignore[arg-type]


def test_statistics_of_others(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(50, 4))
    own = Moments.of(features, "wide")
    path = tmp_path / "s.npz"
    np.savez(path, mu=own.mean, sigma=own.covariance)
    with pytest.raises(UsageError, match=r"does not say of which network it is, .* --reference-network seen_set"):
        read(path)
    with pytest.raises(UsageError, match="is stated to be of clean_fid, but the metric is seen_set"):
        read(path, "clean_fid")
    given = read(path, "seen_set")
    other = Moments.of(features + 0.5, "wide")
    assert isinstance(given, Moments)
    assert frechet_distance(other, given) == pytest.approx(1.0)
    assert frechet_distance(other, given) == pytest.approx(frechet_distance(other, own))
    with pytest.raises(UsageError, match="Frechet distances only: seen_set needs reference images"):
        read(path, "seen_set", Features)
    stated = reference_identity(Reference(kind="folder", path=str(path), network="seen_set"))
    assert stated["network"] == "seen_set"
    own.save(path)  # as `bench reference make` does
    assert frechet_distance(read(path), own) == pytest.approx(0.0)  # type: ignore[arg-type]
    Moments.of(features, "narrow").save(path)
    with pytest.raises(UsageError, match="was made with another network, or other weights, than seen_set has here"):
        read(path)
    with np.load(path) as held:
        assert np.allclose(held["mu"], own.mean)
        assert np.allclose(held["sigma"], own.covariance)


def test_statistics_of_another_network_are_refused_before_the_first_image(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", mu=np.zeros(64), sigma=np.eye(64))
    reference = {"kind": "folder", "path": str(tmp_path / "s.npz")}
    suite = load_suite("shapes").override(metrics=["fid", "kid"], reference=reference)
    with pytest.raises(UsageError, match=r"'fid' .* does not say of which .*; metric 'kid' .* No image was made"):
        check_metrics_load(suite)
    check_metrics_load(suite.override(metrics=["fid"], reference={**reference, "network": "fid"}))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(5), "sigma": np.eye(5)}, r"mu \[5\] and sigma \[5, 5\], but seen_set has 4 features"),
        ({"mu": np.zeros(4), "sigma": np.eye(4)[:3]}, "sigma"),
        ({"mu": np.full(4, np.nan), "sigma": np.eye(4)}, "values that are not finite"),
        ({"mu": np.zeros(4), "sigma": np.triu(np.ones((4, 4)))}, "is no covariance"),
        ({"mu": np.zeros(4), "sigma": -np.eye(4)}, "is no covariance"),
        ({"mu": np.zeros(4)}, "holds mu, where mu and sigma are expected"),
        ({"mu": np.array([{}], dtype=object), "sigma": np.eye(4)}, "cannot be read"),
    ],
)
def test_statistics_that_are_none(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "s.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=words):
        read(tmp_path / "s.npz", "seen_set")


def test_statistics_that_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(b"hello")
    with pytest.raises(UsageError, match="is no .npz file that can be read"):
        read(tmp_path / "s.npz", "seen_set")
    with pytest.raises(MissingError, match="do not exist: correct reference.path"):
        read(tmp_path / "none.npz", "seen_set")
