import io

import numpy as np
import pytest
import torch
from PIL import Image

from metrics import BadInputError, images


def test_tensor_and_pil_agree() -> None:
    pixels = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames = images.to_pil(pixels)
    assert [frame.size for frame in frames] == [(7, 5)] * 3
    assert np.array_equal(np.asarray(frames[1]), pixels[1].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_modes_become_rgb_or_stay(mode: str) -> None:
    image = Image.new("RGB", (4, 4), "red").convert(mode)
    assert images.to_pil([image])[0].mode == "RGB"
    assert images.to_pil([image], convert=False)[0].mode == mode


def damaged() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    return Image.open(io.BytesIO(stream.getvalue()[:2000]))


BAD = {
    "one image": (Image.new("RGB", (2, 2)), "write \\[image\\]"),
    "text": (["a.png"], "image 0 is str"),
    "number": (3, "must be a list"),
    "float tensor": (torch.zeros(1, 3, 4, 4), "dtype float32"),
    "three axes": (torch.zeros(3, 4, 4, dtype=torch.uint8), r"shape \[3, 4, 4\]"),
    "channels last": (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), "shape"),
    "no pixels": (torch.zeros(1, 3, 0, 4, dtype=torch.uint8), "empty"),
    "16 bit": ([Image.new("I;16", (2, 2))], "mode 'I;16'"),
    "float image": ([Image.new("F", (2, 2))], "mode 'F'"),
    "second is broken": ([Image.new("RGB", (2, 2)), None], "image 1 is NoneType"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_one_sentence(name: str) -> None:
    value, message = BAD[name]
    with pytest.raises(BadInputError, match=message):
        images.to_pil(value)  # type: ignore[arg-type]


def test_truncated_file() -> None:
    with pytest.raises(BadInputError, match=r"image 0.*cannot be decoded"):
        images.to_pil([damaged()])


def test_huge_images_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(BadInputError, match="10 x 10 pixels, more than the 99"):
        images.to_pil([Image.new("RGB", (10, 10))])


def test_prompts_must_match() -> None:
    assert images.check_prompts(("a", "b"), 2) == ["a", "b"]
    for value, message in (
        ("a", "write \\[prompt\\]"),
        (["a"], "2 images but 1 prompts"),
        (["a", 3], "prompt 1 is int"),
    ):
        with pytest.raises(BadInputError, match=message):
            images.check_prompts(value, 2)
    with pytest.raises(BadInputError, match="must be a list"):
        images.check_prompts(7, 1)


def test_transparency_of_a_palette_is_dropped_without_a_warning() -> None:
    """Warnings are errors here: PIL has one for palettes whose transparency is bytes."""
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.info["transparency"] = bytes([0, 255])
    (found,) = images.to_pil([image])
    assert list(found.tobytes()) == [10, 20, 30, 40, 50, 60]
    assert image.info["transparency"] == bytes([0, 255])  # the user's image stays as it was
