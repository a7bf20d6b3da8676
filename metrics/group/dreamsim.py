"""DreamSim diversity: mean pairwise DreamSim distance of the images of one prompt (Fu et al. 2023, arXiv 2306.09344).

The distance is 1 - cosine of embeddings from which each one's own mean was subtracted. Published weights run through
the `dreamsim` package, without the code that may lie beside them; a transformers ViTModel folder is a small network of
the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.kinds import EmbeddingGroupMetric, make_card, pick_device
from metrics.errors import MetricError
from metrics.networks.dreamsim_trunks import TYPES, files_of, is_patch, published_network
from metrics.networks.hf_folder import weight_files
from metrics.networks.preprocess import PASSES, squash, to_unit
from metrics.networks.vit import load_encoder
from metrics.types import Card, Facts, Request, one_of
from metrics.weights.hub import locate

_SIZE = 224
_DEFAULT_FOLDER = "~/.cache/dreamsim"


def centre_and_normalise(features: Tensor) -> Tensor:
    """DreamSim's embedding of raw features [B, D]: each row minus its own mean, L2-normalised."""
    return functional.normalize(features - features.mean(dim=-1, keepdim=True), dim=-1)


def pool_patches(tokens: Tensor) -> Tensor:
    """The patch types' one vector of tokens [B, 1 + P, D]: CLS beside the mean patch, L2-normalised, [B, 2 D].

    The distance of the package is 1 - cosine of these.
    """
    return functional.normalize(torch.cat((tokens[:, 0], tokens[:, 1:].mean(dim=1)), dim=-1), dim=-1)


class DreamSim(EmbeddingGroupMetric):
    """Mean pairwise DreamSim distance, in 0..2."""

    option_help: ClassVar[Mapping[str, str]] = {
        "type": one_of(TYPES),
    }

    def __init__(
        self,
        card: Card,
        device: torch.device,
        prepare: Callable[[Image.Image], Tensor],
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(card, device)
        self._prepare = prepare
        self._encode = encode

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a ViTModel folder (config.json), or a folder of the dreamsim package's files (option `type`)."""
        device = pick_device(request.device)
        folder = locate(request.weights) if request.weights else Path(_DEFAULT_FOLDER).expanduser()
        folder = folder.parent if folder.is_file() else folder
        if (folder / "config.json").is_file():
            encoder = load_encoder(folder, facts.title, device, request.dtype, final_norm=False)
            settings = {**encoder.settings, "type": "ViTModel folder", "feature": "CLS before the final norm"}
            card = make_card(facts, request, weight_files(folder, facts.title), settings)
            return cls(card, device, encoder.prepare, lambda inputs: centre_and_normalise(encoder.encode(inputs)))
        return cls._load_published(facts, request, folder, device)

    @classmethod
    def _load_published(cls, facts: Facts, request: Request, folder: Path, device: torch.device) -> Self:
        kind = str(request.options.get("type", "ensemble"))
        if kind not in TYPES:
            raise MetricError(f"dreamsim: type '{kind}' is not one of {', '.join(TYPES)}")
        if request.dtype != "float32":
            raise MetricError("dreamsim: the published network runs in float32 only")
        network = published_network(kind, folder, device)
        settings: dict[str, Any] = {
            "resize": "PIL bicubic, squash",
            "passes": PASSES,
            "antialias": True,
            "crop": "none",
            "image_size": _SIZE,
            "normalisation": "of each network of the dreamsim package, inside it",
            "colour": "RGB before the resize",
            "type": kind,
        }
        if is_patch(kind):
            settings["feature"] = "CLS token beside the mean of the patch tokens, each token centred and normalised"
        card = make_card(facts, request, files_of(kind, folder), settings)

        def encode(inputs: Tensor) -> Tensor:
            embedding: Tensor = network.embed(inputs)
            return pool_patches(embedding) if is_patch(kind) else embedding

        return cls(card, device, lambda image: to_unit(squash(image, _SIZE)), encode)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S], squashed to the network's size."""
        return self._prepare(image)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> centred, L2-normalised embeddings [B, D]."""
        return self._encode(inputs)
