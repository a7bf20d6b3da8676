"""PixArt-alpha and PixArt-Sigma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import PixArtTransformer2DModel
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor

from bench.models.base import TextSide
from bench.models.pipeline import PipelineModel

_TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}


class AdaptableTransformer(PixArtTransformer2DModel, PeftAdapterMixin):  # type: ignore[misc]
    """diffusers' PixArt network with diffusers' own LoRA loading, which that class alone lacks."""


AdaptableTransformer.__name__ = PixArtTransformer2DModel.__name__  # what is saved and compared by name is the same


class PixArt(PipelineModel):
    """The parts of a `PixArtAlphaPipeline` or `PixArtSigmaPipeline` folder: transformer, VAE, T5.

    Captions are lowered and stripped and not cleaned further, as diffusers does where Beautiful Soup is not installed.
    Images are made at the suite's resolution, without resolution binning (which does nothing for square images).
    """

    family = "pixart"
    pipeline_class = "PixArtSigmaPipeline"
    network_part = "transformer"
    network_class = "bench.models.pixart:AdaptableTransformer"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:T5EncoderModel",
        "tokenizer": "transformers:T5Tokenizer",
    }
    patch = 2

    def _pipeline_name(self) -> str:
        named = str(self.index.get("_class_name"))
        if named in _TOKENS:
            return named
        # Sigma's network takes no size conditions.
        return "PixArtAlphaPipeline" if self.network.use_additional_conditions else "PixArtSigmaPipeline"

    def _token_limit(self) -> int:
        return _TOKENS[self._pipeline_name()]

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, mask, _, _ = side.pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            device=self.device,
            clean_caption=False,
            max_sequence_length=self._token_limit(),
        )
        return {"text": states, "mask": mask}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = module(
            latents,
            encoder_hidden_states=states["text"],
            encoder_attention_mask=states["mask"],
            timestep=t.expand(len(latents)),
            added_cond_kwargs=self._size_conditions(len(latents)),
            return_dict=False,
        )[0]
        learned_variance = self.network.config.out_channels // 2 == self.network.config.in_channels
        return torch.as_tensor(output.chunk(2, dim=1)[0]) if learned_variance else output

    def _size_conditions(self, rows: int) -> dict[str, Tensor | None]:
        """Resolution and aspect ratio, which only the 1024 pixel alpha model takes."""
        if self._pipeline_name() != "PixArtAlphaPipeline" or self.network.config.sample_size != 128:
            return {"resolution": None, "aspect_ratio": None}
        size = torch.tensor([self.resolution, self.resolution], dtype=self.dtype)
        ratio = torch.tensor([1.0], dtype=self.dtype)
        return {
            "resolution": self._constant("resolution", rows, lambda count: size.repeat(count, 1)),
            "aspect_ratio": self._constant("aspect_ratio", rows, lambda count: ratio.repeat(count, 1)),
        }
