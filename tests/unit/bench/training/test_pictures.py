"""Training pictures: what a viewer shows is what is trained on, whatever they come from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bench.training.pictures as pictures
from bench.errors import UsageError
from bench.training.data import DatasetsData, Drawing, FolderData
from bench.training.pictures import read_picture, to_picture

HALF = [[[200, 100, 50]] * 6] * 2 + [[[0, 0, 0]] * 6] * 2
"""4 x 6: an upper half of one colour."""


def colour(image: Image.Image, x: int = 1, y: int = 1) -> tuple[int, ...]:
    found: Any = image.getpixel((x, y))
    return tuple(found)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def read(path: Path) -> Image.Image:
    found = read_picture(path, "it")
    assert found.mode == "RGB"
    assert found.tobytes() == read_picture(path.read_bytes(), "it").tobytes()
    return found


def test_sixteen_bits_keep_their_grey(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    found = np.asarray(read(save(Image.fromarray(ramp), tmp_path / "a.png")))
    assert np.array_equal(found[..., 0].ravel(), np.arange(256))
    assert np.array_equal(found[..., 0], found[..., 2])


def test_other_wide_pictures(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.full((4, 4), 65535, np.int32), "I"), tmp_path / "a.tiff")
    assert colour(read(path)) == (255, 255, 255)
    for values, said in ((np.full((4, 4), 1 << 20, np.int32), "32-bit"), (np.ones((4, 4), np.float32), "floating")):
        with pytest.raises(UsageError, match=f"it holds {said}.*save it as 8-bit RGB"):
            read(save(Image.fromarray(values), tmp_path / "b.tiff"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    """What EXIF calls the picture's top is up, as in a viewer."""
    upright = Image.fromarray(np.array(HALF, np.uint8)).resize((48, 32), Image.Resampling.NEAREST)
    turns = Image.Transpose
    stored = {
        1: upright,
        2: upright.transpose(turns.FLIP_LEFT_RIGHT),
        3: upright.transpose(turns.ROTATE_180),
        4: upright.transpose(turns.FLIP_TOP_BOTTOM),
        5: upright.transpose(turns.TRANSPOSE),
        6: upright.transpose(turns.ROTATE_90),
        7: upright.transpose(turns.TRANSVERSE),
        8: upright.transpose(turns.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    found = read(save(stored, tmp_path / "a.png", exif=exif))
    assert found.size == (48, 32)
    assert found.tobytes() == upright.tobytes()


def transparent_palette() -> Image.Image:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    return image


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), {}, (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 255)), {}, (255, 0, 0)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 51)), {}, (204, 204, 204)),
        (Image.new("LA", (8, 8), (10, 0)), {}, (255, 255, 255)),
        (transparent_palette(), {"transparency": 0}, (255, 255, 255)),
        (transparent_palette(), {}, (255, 0, 0)),
        (Image.new("RGB", (8, 8), (1, 2, 3)), {"transparency": (1, 2, 3)}, (255, 255, 255)),
        (Image.new("L", (8, 8), 77), {}, (77, 77, 77)),
        (Image.new("1", (8, 8), 1), {}, (255, 255, 255)),
    ],
)
def test_transparency_is_white(
    image: Image.Image, options: dict[str, Any], expected: tuple[int, ...], tmp_path: Path
) -> None:
    assert colour(read(save(image, tmp_path / "a.png", **options))) == expected


def test_pictures_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.effect_noise((64, 64), 50).convert("RGB"), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match="it cannot be read as an image"):
        read(path)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    large = save(Image.new("RGB", (11, 10)), tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"it has more pixels \(11 x 10\) than the 100 allowed"):
        read(large)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UsageError, match="it has more pixels than the 100 allowed"):
        read(large)


def test_a_folder_and_a_repository_give_the_same_pictures(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    exif = Image.Exif()
    exif[274] = 6
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    made = [
        save(Image.fromarray(rng.integers(0, 65535, (40, 60), dtype=np.uint16)), tmp_path / "0.png"),
        save(noise, tmp_path / "1.jpg", exif=exif),
        save(noise.convert("RGBA").rotate(30, expand=True), tmp_path / "2.png"),
    ]
    for path in made:
        path.with_suffix(".txt").write_text(path.stem)
    rows = {"image": [str(path) for path in made], "text": [path.stem for path in made]}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path / "saved")
    one, two = FolderData(tmp_path, 32), DatasetsData(str(tmp_path / "saved"), 32)
    for index in range(3):
        assert one.image(index).tobytes() == two.image(index).tobytes()


def test_squashing_keeps_everything_and_cropping_the_middle() -> None:
    image = Image.new("RGB", (128, 64), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 32, 64))
    squashed, cropped = to_picture(image, 64, "squash"), to_picture(image, 64)
    assert squashed.shape == cropped.shape == (3, 64, 64)
    assert float(cropped.max()) < -0.5, "the middle is black"
    assert float(squashed[:, :, :14].min()) == 1.0
    expected = torch.from_numpy(np.array(image.resize((64, 64), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert torch.equal(((squashed + 1) * 127.5).round().to(torch.uint8), expected)


def test_shuffled_epochs_draw_each_once_whatever_the_batches() -> None:
    drawing, rng = Drawing(order="shuffled", seed=3), np.random.default_rng(0)
    one = [index for number in range(1, 15) for index in drawing.indices(7, 2, rng, number)]
    assert all(Counter(one[first : first + 7]) == Counter(range(7)) for first in (0, 7, 14, 21))
    assert one[:7] != one[7:14]
    assert one == [index for number in range(1, 5) for index in drawing.indices(7, 7, rng, number)]
    assert one[:20] == drawing.indices(7, 20, rng, 1), "a batch may be larger than the set"
    assert Drawing(order="shuffled", seed=4).indices(7, 7, rng, 1) != one[:7]


def test_the_first_caption() -> None:
    rng = np.random.default_rng(0)
    drawn = {Drawing().caption(["a", "b", "c"], rng) for _ in range(40)}
    assert drawn == {"a", "b", "c"}
    assert {Drawing(captions="first").caption(["a", "b", "c"], rng) for _ in range(40)} == {"a"}
