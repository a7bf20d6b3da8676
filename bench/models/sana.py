"""Sana."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.models.base import TextSide
from bench.models.pipeline import PipelineModel

TOKENS = 300
"""Most tokens of a prompt, the first one aside: the default of diffusers' pipeline."""


class Sana(PipelineModel):
    """The parts of a `SanaPipeline` folder: linear transformer, deep-compression VAE (factor 32), Gemma 2.

    A prompt follows the instruction ("complex human instruction") that is the default of diffusers' pipeline; the
    negative one has none. Captions are lowered and stripped and not cleaned further. Latents stay in float32 whatever
    the network computes in. Images are made at the suite's resolution, without resolution binning (which does nothing
    for square images of the network's size).
    """

    family = "sana"
    pipeline_class = "SanaPipeline"
    network_part = "transformer"
    network_class = "diffusers:SanaTransformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderDC",
        "text_encoder": "transformers:Gemma2Model",
        "tokenizer": "transformers:GemmaTokenizer",
    }
    latents_dtype = torch.float32

    def _vae_factor(self) -> int:
        return int(2 ** (len(self.vae.config.encoder_block_out_channels) - 1))

    def _token_limit(self) -> int:
        return TOKENS - 1  # one place holds the first token of the instruction

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        instruction = inspect.signature(type(side.pipeline).__call__).parameters["complex_human_instruction"].default
        states, mask, _, _ = side.pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            device=self.device,
            clean_caption=False,
            max_sequence_length=TOKENS,
            complex_human_instruction=instruction,
        )
        return {"text": states, "mask": mask}

    def _encode_negative(self, side: TextSide, text: str | None) -> dict[str, Tensor]:
        _, _, states, mask = side.pipeline.encode_prompt(
            "",
            do_classifier_free_guidance=True,
            negative_prompt=text or "",
            device=self.device,
            clean_caption=False,
            max_sequence_length=TOKENS,
        )
        return {"text": states, "mask": mask}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = module(
            latents.to(self.dtype),
            encoder_hidden_states=states["text"].to(self.dtype),
            encoder_attention_mask=states["mask"],
            timestep=t.expand(len(latents)) * self.network.config.timestep_scale,
            return_dict=False,
        )[0].float()
        learned_variance = self.network.config.out_channels // 2 == self.network.config.in_channels
        return torch.as_tensor(output.chunk(2, dim=1)[0]) if learned_variance else output

    def _encoded(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return torch.as_tensor(self.vae.encode(pixels).latent)  # this encoder has no posterior to draw from

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        return super()._unscaled(latents.to((vae or self.vae).dtype), vae)
