"""Geometry against torchvision, which the originals use."""

import pytest
import torch
from torchvision.transforms import functional as vision
from torchvision.transforms.functional import InterpolationMode

from metrics import BadInputError, preprocess
from tests.unit.metrics.checkpoints import picture

SIZES = [(64, 64), (50, 33), (33, 50), (31, 97), (224, 32), (32, 224), (20, 20)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_resize_crop_is_torchvisions(size: tuple[int, int], mode: str) -> None:
    image = picture(1, *size, mode=mode)
    wanted = vision.center_crop(vision.resize(image, 32, InterpolationMode.BICUBIC), [32, 32]).convert("RGB")
    found = preprocess.resize_crop(image, 32).convert("RGB")
    assert torch.equal(preprocess.to_unit(found), vision.to_tensor(wanted))


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
