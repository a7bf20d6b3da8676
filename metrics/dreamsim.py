"""DreamSim diversity: mean pairwise DreamSim distance of the images of one prompt (Fu et al. 2023, arXiv 2306.09344).

The distance is 1 - cosine of embeddings from which each one's own mean was subtracted. Published weights run through
the `dreamsim` package; a transformers ViTModel folder is a small network of the same form.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base import EmbeddingGroupMetric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.hf_folder import weight_files
from metrics.hub import locate
from metrics.preprocess import PASSES, squash, to_unit
from metrics.types import Card, Facts, Request
from metrics.vit import load_encoder

TYPES = ("ensemble", "dino_vitb16", "open_clip_vitb32", "clip_vitb32", "dinov2_vitb14")
_SIZE = 224
_DEFAULT_FOLDER = "~/.cache/dreamsim"


def centre_and_normalise(features: Tensor) -> Tensor:
    """DreamSim's embedding of raw features [B, D]: each row minus its own mean, L2-normalised."""
    return functional.normalize(features - features.mean(dim=-1, keepdim=True), dim=-1)


class DreamSim(EmbeddingGroupMetric):
    """Mean pairwise DreamSim distance, in 0..2."""

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
            raise MetricError(f"dreamsim: type '{kind}' is not one of {', '.join(TYPES)}.")
        if request.dtype != "float32":
            raise MetricError("dreamsim: the published network runs in float32 only.")
        network = _package_network(kind, folder, device)
        settings = {
            "resize": "PIL bicubic, squash",
            "passes": PASSES,
            "antialias": True,
            "crop": "none",
            "image_size": _SIZE,
            "normalisation": "of each network of the dreamsim package, inside it",
            "colour": "RGB before the resize",
            "type": kind,
        }
        files = [item for item in sorted(folder.glob("*")) if item.suffix in (".pth", ".tar")]
        files += sorted(folder.glob("*_lora/adapter_*"))
        source = request.weights or facts.weights
        card = make_card(facts, request, files, settings, source)

        def encode(inputs: Tensor) -> Tensor:
            embedding: Tensor = network.embed(inputs)
            return embedding

        return cls(card, device, lambda image: to_unit(squash(image, _SIZE)), encode)

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S], squashed to the network's size."""
        return self._prepare(image)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> centred, L2-normalised embeddings [B, D]."""
        return self._encode(inputs)


def _package_network(kind: str, folder: Path, device: torch.device) -> Any:
    """The `dreamsim` package's network; its prints are swallowed and its global torch.hub folder is put back."""
    hub = torch.hub.get_dir()
    command = f"python -c \"from dreamsim import dreamsim; dreamsim(device='cpu', cache_dir='{folder}', "
    command += f"dreamsim_type='{kind}')\""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from dreamsim import dreamsim

            network, _ = dreamsim(pretrained=True, device=str(device), cache_dir=str(folder), dreamsim_type=kind)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # urllib, zip, pickle and key errors of the package: absent or damaged files
        raise MissingWeightsError(
            f"DreamSim: the weights of type '{kind}' in '{folder}' are absent or damaged and could not be downloaded "
            f"({type(error).__name__}): run `{command}` where there is a network."
        ) from error
    finally:
        torch.hub.set_dir(hub)
    return network.requires_grad_(False).eval()
