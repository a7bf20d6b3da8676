"""Geometry against torchvision, which the originals use."""

import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as vision
from torchvision.transforms.functional import InterpolationMode

from metrics import BadInputError
from metrics.networks import preprocess
from tests.unit.metrics.checkpoints import picture

SIZES = [(64, 64), (50, 33), (33, 50), (31, 97), (224, 32), (32, 224), (20, 20)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_resize_crop_is_torchvisions(size: tuple[int, int], mode: str) -> None:
    image = picture(1, *size, mode=mode)
    wanted = vision.center_crop(vision.resize(image, 32, InterpolationMode.BICUBIC), [32, 32]).convert("RGB")
    found = preprocess.resize_crop(image, 32).convert("RGB")
    assert torch.equal(preprocess.to_unit(found), vision.to_tensor(wanted))


@pytest.mark.parametrize("size", [*SIZES, (33, 49), (49, 33), (36, 53), (61, 99)])
def test_crop_down_is_that_of_transformers(size: tuple[int, int]) -> None:
    """PickScore and CLIPScore: where an odd number of pixels is cut off, its crop is not torchvision's."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    image = picture(1, *size)
    square = {"height": 32, "width": 32}
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=square, do_normalize=False, do_rescale=False
    )
    wanted = torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"][0], dtype=torch.float32)
    found = preprocess.to_bytes(preprocess.resize_crop(image, 32, crop=preprocess.Crop.DOWN)).float()
    assert torch.equal(found, wanted)


def test_the_two_crops_differ_by_a_pixel() -> None:
    assert preprocess._centre(35, 32, 32, preprocess.Crop.EVEN) == (2, 0)
    assert preprocess._centre(35, 32, 32, preprocess.Crop.DOWN) == (1, 0)
    pixels = torch.rand(1, 3, 32, 35)
    assert torch.equal(preprocess.resize_crop_tensor(pixels, 32), pixels[..., 2:34])
    assert torch.equal(preprocess.resize_crop_tensor(pixels, 32, preprocess.Crop.DOWN), pixels[..., 1:33])


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (20, 64), (50, 50)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P"])
def test_horizontal_pass_comes_first(size: tuple[int, int], mode: str) -> None:
    """As in Pillow up to 12; Pillow 13 takes the other order for the first of these sizes."""
    image = picture(4, *size, mode=mode)
    found = preprocess.squash(image, 32)
    assert (found.mode, found.size) == (mode, (32, 32))
    if mode == "P":
        assert found.tobytes() == image.resize((32, 32), Image.Resampling.NEAREST).tobytes()
        return
    inner = image.convert({"RGBA": "RGBa", "LA": "La"}.get(mode, mode))
    steps = inner.resize((32, size[1]), Image.Resampling.BICUBIC).resize((32, 32), Image.Resampling.BICUBIC)
    assert found.tobytes() == steps.convert(mode).tobytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("antialias", [False, True])
def test_hps_geometry(size: tuple[int, int], antialias: bool) -> None:
    """The official steps written out with torchvision: longest side, then zeros, on the float tensor."""
    pixels = vision.to_tensor(picture(2, *size))
    scale = 32 / max(size)
    height, width = round(size[1] * scale), round(size[0] * scale)
    if scale != 1.0:
        pixels = vision.resize(pixels, [height, width], InterpolationMode.BICUBIC, antialias=antialias)
    left, top = (32 - width) // 2, (32 - height) // 2
    wanted = vision.pad(pixels, [left, top, 32 - width - left, 32 - height - top], fill=0)
    found = preprocess.resize_pad_tensor(vision.to_tensor(picture(2, *size))[None], 32, antialias)[0]
    assert torch.equal(found, wanted)


def test_tensor_resize_is_near_pil_and_skipped_where_equal() -> None:
    image = picture(3, 100, 70)
    exact = preprocess.to_unit(preprocess.resize_crop(image, 32))
    near = preprocess.resize_crop_tensor(preprocess.to_unit(image)[None], 32)[0]
    assert (exact - near).abs().max() < 0.01
    same = torch.rand(2, 3, 32, 32)
    assert torch.equal(preprocess.resize_crop_tensor(same, 32), same)


def test_needles_are_refused_not_blown_up() -> None:
    with pytest.raises(BadInputError, match="too narrow"):
        preprocess.resize_crop(picture(0, 100_000, 1), 224)
    assert preprocess.resize_pad_tensor(torch.rand(1, 3, 1, 2000), 32, False).shape == (1, 3, 32, 32)
