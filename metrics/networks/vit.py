"""A transformers ViTModel whose CLS token is the embedding: what DINO and the small DreamSim share."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from metrics.errors import MissingWeightsError
from metrics.networks.hf_folder import load_folder
from metrics.networks.preprocess import HALF, PASSES, normalise, squash, to_unit
from metrics.weights.state_dict import read_json, sha256

# The checkpoints have a pooler or a head now and then; the CLS token is taken before either.
_DROP = (r"pooler\..*", r"classifier\..*", r"(vit\.)?embeddings\.mask_token")
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], ClsEncoder] = weakref.WeakValueDictionary()


class ClsEncoder:
    """CLS token of the last block, after the final norm or (as DreamSim) before it."""

    def __init__(self, model: Any, folder: Path, *, final_norm: bool) -> None:
        self.model = model
        if not final_norm:
            model.layernorm = nn.Identity()
        self.size, self.resample = int(model.config.image_size), Image.Resampling.BICUBIC
        self.mean: Sequence[float] = HALF
        self.deviation: Sequence[float] = HALF
        self._read_preprocessor(folder / "preprocessor_config.json")

    def _read_preprocessor(self, path: Path) -> None:
        """Filter, mean and deviation as the checkpoint says; the size is the network's."""
        if not path.is_file():
            return
        config = read_json(path, "preprocessor")
        try:
            self.mean = tuple(float(value) for value in config.get("image_mean", HALF))
            self.deviation = tuple(float(value) for value in config.get("image_std", HALF))
            self.resample = Image.Resampling(config.get("resample", Image.Resampling.BILINEAR))
        except (TypeError, ValueError) as error:
            raise MissingWeightsError(f"'{path}' has no usable image_mean, image_std, resample ({error})") from error

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the features, for the card."""
        return {
            "resize": f"PIL {self.resample.name.lower()}, squash",
            "passes": PASSES,
            "antialias": True,
            "crop": "none",
            "image_size": self.size,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "colour": "RGB before the resize",
        }

    def prepare(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, S, S], squashed to the network's size and normalised."""
        return normalise(to_unit(squash(image, self.size, self.resample)), self.mean, self.deviation)

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, 3, S, S] -> CLS tokens, float32 [B, D]."""
        tokens: Tensor = self.model(pixel_values=inputs).last_hidden_state
        return tokens[:, 0].float()


def load_encoder(folder: Path, what: str, device: torch.device, dtype: str, *, final_norm: bool) -> ClsEncoder:
    """The encoder of a ViTModel folder; metrics with the same weights, device and dtype share one network."""
    from transformers import ViTModel

    weights = [item for item in sorted(folder.glob("*")) if item.suffix in (".safetensors", ".bin", ".json")]
    key = (tuple(sha256(item) for item in weights if item.is_file()), str(device), dtype, final_norm)
    found = _loaded.get(key)
    if found is None:
        model = load_folder(ViTModel, folder, what, drop=_DROP, add_pooling_layer=False)
        found = ClsEncoder(model.to(device=device, dtype=getattr(torch, dtype)), folder, final_norm=final_norm)
        _loaded[key] = found
    return found
