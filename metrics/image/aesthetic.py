"""LAION's improved aesthetic predictor: a linear stack on the CLIP ViT-L/14 embedding of an image.

Schuhmann 2022, github.com/christophschuhmann/improved-aesthetic-predictor, weights sac+logos+ava1-l14-linearMSE. The
layers have no activations between them; dropouts are nothing in eval mode. The original runs CLIP in float16 on CUDA
and in float32 on the CPU.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from metrics.base.kinds import ImageMetric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.images import to_rgb
from metrics.networks.clip_image import CLIP_FILES, ClipImageEncoder, load_clip_images
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.preprocess import Crop, resize_crop, resize_crop_tensor, to_unit
from metrics.types import Card, Facts, Request, digest_of
from metrics.weights.hub import locate, release_file
from metrics.weights.pins import pinned
from metrics.weights.state_dict import find_file, load_strict, read_state

CLIP = "openai/clip-vit-large-patch14"
_NAMES = ("sac+logos+ava1-l14-linearMSE.pth", "*.pth", "*aesthetic*.safetensors")
# openai's own preprocessing (torchvision), where the encoder's settings are those of transformers
_OPENAI = {"colour": "resized in the image's own mode, then RGB", "crop": Crop.EVEN.value}


def build_head(state: Mapping[str, Tensor], where: str) -> nn.Sequential:
    """The linear stack of keys `layers.N.weight` and `layers.N.bias`, float32; sizes come from the tensors.

    MissingWeightsError for other keys, or layers that do not form a chain down to one value.
    """
    layers = sorted({int(match[1]) for key in state if (match := re.fullmatch(r"layers\.(\d+)\.weight", key))})
    weights = [state[f"layers.{layer}.weight"] for layer in layers]
    if not weights or any(weight.dim() != 2 for weight in weights):
        raise MissingWeightsError(f"{where} is not an aesthetic predictor: it has no keys layers.N.weight")
    ends = [(int(weight.shape[1]), int(weight.shape[0])) for weight in weights]
    if any(one[1] != two[0] for one, two in itertools.pairwise(ends)) or ends[-1][1] != 1:
        shown = ", ".join(f"{into} to {out}" for into, out in ends)
        raise MissingWeightsError(f"{where}: layers of {shown} do not form a chain down to one value")
    head = nn.Sequential(*(nn.Linear(into, out) for into, out in ends))
    names = {f"layers.{layer}.": f"{index}." for index, layer in enumerate(layers)}
    renamed = {names.get(key[: key.rfind(".") + 1], key) + key[key.rfind(".") + 1 :]: v for key, v in state.items()}
    load_strict(head, renamed, where)
    return head


class Aesthetic(ImageMetric):
    """Predicted rating of an image, about 1 to 10; higher is better. The prompt plays no part."""

    option_help: ClassVar[Mapping[str, str]] = {
        "clip": "path or hub id of the CLIP, where it is not beside the predictor and not the published",
    }

    convert_first = False  # officially the image is resized in its own mode and then made RGB
    uses_prompts = False

    def __init__(
        self,
        card: Card,
        device: torch.device,
        encoder: ClipImageEncoder,
        head: nn.Sequential,
        clip_files: Sequence[str],
    ) -> None:
        super().__init__(card, device)
        self.encoder = encoder
        self.head = head.to(device)
        self._clip_files = clip_files  # names in card.weights

    @property
    def network(self) -> Any:
        """The CLIP vision tower."""
        return self.encoder.model

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From the original .pth file; CLIP from the option `clip`, from the same folder, or the published one."""
        device = pick_device(request.device)
        path, home = _find_head(facts, request)
        given = request.options.get("clip")
        if given is not None and not isinstance(given, str):
            raise MetricError(f"aesthetic: clip = {given!r} must be a path or a hub id")
        clip = replace(request, weights=given or home or pinned(CLIP))
        clip_folder = folder_of(facts, clip, CLIP_FILES)
        encoder = load_clip_images(clip_folder, facts.title, device, request.dtype)
        where = f"{facts.title}: '{path}'"
        head = build_head(read_state(path), where)
        if head[0].in_features != encoder.width:
            raise MissingWeightsError(
                f"{where} takes embeddings of {head[0].in_features}, the CLIP of '{clip_folder}' makes "
                f"{encoder.width}: they do not belong together (the published predictor takes those of ViT-L/14)"
            )
        settings = {**encoder.settings, **_OPENAI, "embedding": "projected, L2-normalised"}
        settings["head"] = " to ".join(str(size) for size in [encoder.width, *(layer.out_features for layer in head)])
        files = {f"clip/{item.name}": item for item in weight_files(clip_folder, facts.title)}
        card = make_card(facts, request, {path.name: path, **files}, settings)
        if (given or home or CLIP) != CLIP and card.label is None:  # the predictor alone is the published one
            card = replace(card, label=request.label or "own weights")
        return cls(card, device, encoder, head, list(files))

    @property
    def backbone(self) -> str:
        """Equal for two metrics whose `embed` gives equal embeddings: the head plays no part."""
        weights = {name.partition("/")[2]: self.card.weights[name] for name in self._clip_files}
        settings = {**self.card.precision, **self.encoder.settings, **_OPENAI}
        return digest_of(weights=weights, settings=settings)

    def prepare(self, image: Image.Image) -> Tensor:
        """An image of any mode -> [3, S, S]: PIL bicubic shortest side, centre crop, RGB, CLIP mean and deviation."""
        return self.encoder.normalise(to_unit(to_rgb(resize_crop(image, self.encoder.size))))

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in [0, 1] -> [N, 3, S, S], differentiable."""
        return self.encoder.normalise(resize_crop_tensor(pixels, self.encoder.size))

    def encode_images(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> L2-normalised projected embeddings [B, D]."""
        return functional.normalize(self.encoder.encode(inputs), dim=-1)

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Nothing: the rating does not depend on the prompt."""
        return ()

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        """Embeddings [B, D] -> ratings [B]."""
        rating: Tensor = self.head(features)
        return rating.squeeze(-1)


def _find_head(facts: Facts, request: Request) -> tuple[Path, str | None]:
    """The predictor's file, and the folder of a CLIP beside it (the folder itself, or its `clip`), if there is one."""
    if request.weights is None:
        return release_file(facts.weights or "", facts.sha256[0], facts.title), None
    path = locate(request.weights)
    path = find_file(path, _NAMES, facts.title) if path.is_dir() else path
    homes = (path.parent, path.parent / "clip")
    return path, next((str(folder) for folder in homes if (folder / "config.json").is_file()), None)
