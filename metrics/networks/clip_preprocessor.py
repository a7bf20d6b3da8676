"""What a CLIP folder's preprocessor_config.json asks for: mean and deviation are honoured, the rest has to be CLIP's.

Every metric on CLIP resizes with PIL's bicubic filter to the network's own size, as the publishers' processors do. A
folder whose processor does something else made other features than these would be, so it is refused by the key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics.errors import MissingWeightsError
from metrics.networks.preprocess import CLIP_MEAN, CLIP_STD
from metrics.weights.state_dict import read_json

PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""In the order in which they are looked for; the second is how transformers 5 saves a whole processor."""
_BICUBIC = (3, "bicubic", "BICUBIC", "Resampling.BICUBIC")
_SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_KINDS = ("image_processor_type", "feature_extractor_type")


@dataclass(frozen=True, slots=True)
class Scale:
    """By what pixels in [0, 1] are normalised, a number for each channel."""

    mean: tuple[float, ...] = CLIP_MEAN
    deviation: tuple[float, ...] = CLIP_STD


def read_scale(folder: Path, image_size: int, what: str) -> Scale:
    """Mean and deviation of a CLIP folder; those of OpenAI's CLIP where it has no such file.

    MissingWeightsError (one sentence, with the key) where the file asks for another geometry, filter or range.
    """
    path = next((folder / name for name in PREPROCESSOR_FILES if (folder / name).is_file()), None)
    if path is None:
        return Scale()
    config = read_json(path, what)
    config = config.get("image_processor", config) if path.name == PREPROCESSOR_FILES[1] else config
    if not isinstance(config, dict):
        raise MissingWeightsError(f"{what}: image_processor in '{path}' must be a JSON object")
    for key, value in _unlike(config, image_size):
        raise MissingWeightsError(
            f"{what}: '{path}' has {key} = {value!r}, which this metric does not do (PIL bicubic, shortest side and "
            f"centre crop to the network's {image_size} pixels): give the folder of a CLIP with that preprocessing"
        )
    try:
        mean, deviation = (
            tuple(float(one) for one in config.get(key, default))
            for key, default in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))
        )
    except (TypeError, ValueError) as error:
        raise MissingWeightsError(f"{what}: '{path}' has no usable image_mean, image_std ({error})") from error
    if len(mean) != 3 or len(deviation) != 3 or not all(map(math.isfinite, mean)) or not min(deviation) > 0:
        raise MissingWeightsError(
            f"{what}: image_mean and image_std in '{path}' must be three numbers each, std above 0"
        )
    return Scale(mean, deviation)


def _unlike(config: Mapping[str, Any], image_size: int) -> Iterator[tuple[str, Any]]:
    """The keys that ask for something else than CLIP's preprocessing to `image_size` pixels."""
    for key in _KINDS:
        if "CLIP" not in str(config.get(key) or "CLIP"):
            yield key, config[key]
    for key in _SWITCHES:
        if config.get(key, True) is not True:
            yield key, config[key]
    if config.get("resample", 3) not in _BICUBIC:
        yield "resample", config["resample"]
    if "size" in config and config["size"] not in (image_size, {"shortest_edge": image_size}):
        yield "size", config["size"]
    squares = (image_size, {"height": image_size, "width": image_size}, {"shortest_edge": image_size})
    if "crop_size" in config and config["crop_size"] not in squares:
        yield "crop_size", config["crop_size"]
    factor = config.get("rescale_factor", 1 / 255)
    if not isinstance(factor, int | float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        yield "rescale_factor", factor
