"""From what the user hands over (PIL images or a uint8 tensor) to PIL images that can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image, UnidentifiedImageError

from metrics.errors import BadInputError

if TYPE_CHECKING:
    import torch

Images: TypeAlias = "Sequence[Image.Image] | torch.Tensor"

MAX_PIXELS = 100_000_000  # of one image; larger ones are refused before they are decoded
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def to_pil(images: Images, *, convert: bool = True) -> list[Image.Image]:
    """Decoded PIL images, in RGB unless `convert` is False (ImageReward resizes in the image's own mode).

    `images`: a list of PIL images or a uint8 tensor [N, 3, H, W]. Raises BadInputError, which counts from 0.
    """
    if isinstance(images, (list, tuple)):
        return [_checked(image, f"image {index}", convert) for index, image in enumerate(images)]
    if isinstance(images, Image.Image):
        raise BadInputError("images must be a list of PIL images, not one image: write [image]")
    if hasattr(images, "dim") and hasattr(images, "dtype"):
        return _from_tensor(images)
    raise BadInputError(
        f"images must be a list of PIL images or a uint8 tensor [N, 3, H, W], not {type(images).__name__}"
    )


def _from_tensor(images: Any) -> list[Image.Image]:
    import torch

    shape = tuple(images.shape)
    if images.dtype != torch.uint8:
        raise BadInputError(
            f"image tensor has dtype {str(images.dtype).removeprefix('torch.')}: give uint8 in 0..255 "
            "(from floats in 0..1: (x * 255).round().clamp(0, 255).to(torch.uint8))"
        )
    if len(shape) != 4 or shape[1] != 3:
        raise BadInputError(f"image tensor has shape {list(shape)}: give [N, 3, H, W]")
    _check_size(shape[3], shape[2], "image tensor")
    pixels = images.detach().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(frame) for frame in pixels]


def _check_size(width: int, height: int, where: str) -> None:
    if width < 1 or height < 1:
        raise BadInputError(f"{where} is empty ({width} x {height} pixels)")
    if width * height > MAX_PIXELS:
        raise BadInputError(
            f"{where} has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed: resize it first"
        )


def _checked(image: object, where: str, convert: bool) -> Image.Image:
    if not isinstance(image, Image.Image):
        raise BadInputError(f"{where} is {type(image).__name__}, not a PIL image")
    name = getattr(image, "filename", "")
    where = f"{where} ({name})" if name else where
    _check_size(*image.size, where)
    if image.mode not in _MODES:
        raise BadInputError(f"{where} has mode '{image.mode}', which has no agreed conversion: save it as 8-bit RGB")
    try:
        image.load()
        return to_rgb(image) if convert else image
    except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadInputError(f"{where} cannot be decoded ({error}): it is damaged or incomplete") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """`image.convert("RGB")` (transparency is dropped), without PIL's warning about palettes with transparency."""
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def check_prompts(prompts: object, count: int) -> list[str]:
    """The prompts as a list of `count` strings, one for each image; BadInputError otherwise."""
    if isinstance(prompts, str):
        raise BadInputError("prompts must be a list with one prompt for each image, not one string: write [prompt]")
    if not isinstance(prompts, Sequence):
        raise BadInputError(f"prompts must be a list of strings, not {type(prompts).__name__}")
    if len(prompts) != count:
        raise BadInputError(f"{count} images but {len(prompts)} prompts: give one prompt for each image")
    for index, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise BadInputError(f"prompt {index} is {type(prompt).__name__}, not a string")
    return list(prompts)
