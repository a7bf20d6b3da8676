"""Image encoders by name, for metrics that let one choose: DINOv2, DINOv3, SigLIP 2 and CLIP.

Each is a folder of transformers as its publisher ships it (config.json, safetensors), loaded strictly and without code
from the repository. Embeddings are float32 and not normalised.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.errors import MetricError, MissingWeightsError
from metrics.networks.encoder import Encoder
from metrics.networks.hf_folder import folder_of, load_folder
from metrics.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, PASSES, normalise, squash, to_unit
from metrics.types import Facts, Request, one_of
from metrics.weights.state_dict import read_json, sha256

HALF = (0.5, 0.5, 0.5)
_TEXT_SIDE = (r"text_model\..*", "logit_scale", "logit_bias")


@dataclass(frozen=True, slots=True)
class Choice:
    """An encoder that a metric's option may name: its title and where it is published."""

    title: str
    weights: str
    licence: str


ENCODERS = {
    "dinov2": Choice("DINOv2", "facebook/dinov2-large", "Apache-2.0"),
    "dinov3": Choice("DINOv3", "facebook/dinov3-vitl16-pretrain-lvd1689m", "DINOv3 licence (gated)"),
    "siglip2": Choice("SigLIP 2", "google/siglip2-so400m-patch14-384", "Apache-2.0"),
    "clip": Choice("CLIP ViT-L/14", "openai/clip-vit-large-patch14", "MIT"),
}
OPTION_HELP = one_of(ENCODERS)


class PooledEncoder:
    """One vector an image from a vision tower of transformers; `settings` say what decides it."""

    def __init__(
        self,
        model: Any,
        settings: dict[str, Any],
        prepare: Callable[[Image.Image], Tensor],
        read: Callable[[Any], Tensor],
    ) -> None:
        self.model = model
        self.settings = settings
        self.width = int(settings["features"])
        self._prepare = prepare
        self._read = read

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> network input [3, S, S]."""
        return self._prepare(image)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> embeddings, float32 [B, D]."""
        return self._read(self.model(pixel_values=inputs.to(self.model.dtype))).float()


_loaded: weakref.WeakValueDictionary[tuple[Any, ...], PooledEncoder] = weakref.WeakValueDictionary()


def load_dinov3(folder: Path, what: str, device: torch.device, dtype: str) -> PooledEncoder:
    """CLS token after the final norm of a DINOv3ViTModel folder (Simeoni et al. 2025, arXiv 2508.10104).

    Preprocessing is that of its image processor: to [0, 1], bilinear squash with antialiasing, ImageNet's mean and
    deviation.
    """
    from transformers import DINOv3ViTModel

    def make() -> PooledEncoder:
        model = load_folder(DINOv3ViTModel, folder, what).to(device=device, dtype=getattr(torch, dtype))
        processor = _processor(folder, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
        size = processor.size or int(model.config.image_size)
        settings = _settings(model.config, "DINOv3", size, processor)
        settings["resize"] = f"torch {processor.filter} of float pixels, squash"

        def prepare(image: Image.Image) -> Tensor:
            pixels = to_unit(image)[None]
            resized = functional.interpolate(
                pixels, (size, size), mode=processor.filter, antialias=True, align_corners=False
            )
            return normalise(resized[0], processor.mean, processor.deviation)

        return PooledEncoder(model, settings, prepare, lambda output: output.last_hidden_state[:, 0])

    return _shared("dinov3", folder, device, dtype, make)


def load_siglip(folder: Path, what: str, device: torch.device, dtype: str) -> PooledEncoder:
    """The pooled output of SigLIP 2's vision tower (Tschannen et al. 2025, arXiv 2502.14786), fixed resolution.

    A folder of the whole model or of its vision tower; its preprocessor_config.json says filter, mean and deviation.
    """
    from transformers import SiglipVisionModel

    kind = read_json(folder / "config.json", what).get("model_type")
    if kind not in ("siglip", "siglip_vision_model"):
        raise MissingWeightsError(
            f"{what}: '{folder}' is a model of type '{kind}', not a SigLIP of fixed resolution: give such a folder "
            f"(for example {ENCODERS['siglip2'].weights}; those named NaFlex are of another form)"
        )

    def make() -> PooledEncoder:
        config = read_json(folder / "config.json", what)
        more = {"config": _vision_config(config)} if "vision_config" in config else {}
        model = load_folder(SiglipVisionModel, folder, what, drop=_TEXT_SIDE, **more)
        model = model.to(device=device, dtype=getattr(torch, dtype))
        processor = _processor(folder, "bicubic", HALF, HALF)
        size = int(model.config.image_size)
        settings = _settings(model.config, "SigLIP 2", size, processor)
        settings |= {"resize": f"PIL {processor.filter}, squash", "passes": PASSES, "feature": "attention-pooled"}
        resample = Image.Resampling[processor.filter.upper()]

        def prepare(image: Image.Image) -> Tensor:
            return normalise(to_unit(squash(image, size, resample)), processor.mean, processor.deviation)

        return PooledEncoder(model, settings, prepare, lambda output: output.pooler_output)

    return _shared("siglip", folder, device, dtype, make)


def load_choice(name: Any, facts: Facts, request: Request, device: torch.device) -> tuple[Facts, Encoder, int, Path]:
    """The encoder of an option: facts with its source and licence, the encoder, its width D, and its folder.

    MetricError for a name that is none.
    """
    if name not in ENCODERS:
        raise MetricError(f"{facts.name}: encoder {name!r} is not one of {', '.join(ENCODERS)}")
    choice = ENCODERS[name]
    if name != facts.options.get("encoder"):
        facts = replace(facts, weights=choice.weights, sha256=(), licence=choice.licence)
    facts = replace(facts, title=f"{facts.title} ({choice.title})")
    folder = folder_of(facts, request)
    encoder: Any
    if name == "dinov2":
        from metrics.networks.dinov2 import load_dinov2

        encoder = load_dinov2(folder, facts.title, device, request.dtype)
    elif name == "clip":
        from metrics.networks.clip_image import load_clip_images

        encoder = load_clip_images(folder, facts.title, device, request.dtype)
    else:
        loader = load_dinov3 if name == "dinov3" else load_siglip
        encoder = loader(folder, facts.title, device, request.dtype)
    return facts, encoder, int(encoder.width), folder


@dataclass(frozen=True, slots=True)
class _Processor:
    filter: str
    mean: Sequence[float]
    deviation: Sequence[float]
    size: int | None


def _processor(folder: Path, filter_name: str, mean: Sequence[float], deviation: Sequence[float]) -> _Processor:
    """Filter, mean, deviation and size as preprocessor_config.json says, else the publisher's defaults."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return _Processor(filter_name, mean, deviation, None)
    config = read_json(path, "preprocessor")
    try:
        chosen = Image.Resampling(config.get("resample", Image.Resampling[filter_name.upper()])).name.lower()
        size = config.get("size") or {}
        height, width = size.get("height"), size.get("width")
        if height != width or chosen not in ("bilinear", "bicubic"):
            raise ValueError(f"a size of {height} x {width} with filter {chosen}")
        return _Processor(
            chosen,
            tuple(float(value) for value in config.get("image_mean", mean)),
            tuple(float(value) for value in config.get("image_std", deviation)),
            None if height is None else int(height),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise MissingWeightsError(f"'{path}' has no usable size, resample, image_mean, image_std ({error})") from error


def _settings(config: Any, name: str, size: int, processor: _Processor) -> dict[str, Any]:
    return {
        "network": f"{name}, {config.num_hidden_layers} layers of {config.hidden_size}, patch {config.patch_size}",
        "features": int(config.hidden_size),
        "feature": "CLS after the final norm",
        "antialias": True,
        "crop": "none",
        "image_size": size,
        "mean": list(processor.mean),
        "deviation": list(processor.deviation),
        "colour": "RGB before the resize",
    }


def _vision_config(config: dict[str, Any]) -> Any:
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(**config["vision_config"])


def _shared(
    kind: str, folder: Path, device: torch.device, dtype: str, make: Callable[[], PooledEncoder]
) -> PooledEncoder:
    """Metrics with the same files, device and dtype share one network."""
    files = [item for item in sorted(folder.glob("*")) if item.suffix in (".safetensors", ".bin", ".json")]
    key = (kind, tuple(sha256(item) for item in files if item.is_file()), str(device), dtype)
    found = _loaded.get(key)
    if found is None:
        found = _loaded[key] = make()
    return found
