"""Stable Diffusion XL (base; without the refiner)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.models.base import TextSide
from bench.models.guided import GUIDANCE
from bench.models.pipeline import PipelineModel


class StableDiffusionXL(PipelineModel):
    """The parts of a `StableDiffusionXLPipeline` folder: UNet, VAE, two CLIP text encoders.

    The size conditions (arXiv 2307.01952, 2.2) are those of the pipeline's defaults: the resolution, nothing cropped.
    """

    family = "sdxl"
    pipeline_class = "StableDiffusionXLPipeline"
    network_part = "unet"
    network_class = "diffusers:UNet2DConditionModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:CLIPTextModel",
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:CLIPTokenizer",
    }
    pipeline_options: ClassVar[Mapping[str, Any]] = {"add_watermarker": False}

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, _, pooled, _ = side.pipeline.encode_prompt(
            text, device=self.device, do_classifier_free_guidance=False, clip_skip=side.clip_skip
        )
        return {"text": states, "pooled": pooled}

    def _encode_negative(self, side: TextSide, text: str | None) -> dict[str, Tensor]:
        # Of None zeros or the encoded empty text, as the pipeline's configuration says.
        _, states, _, pooled = side.pipeline.encode_prompt(
            "", device=self.device, do_classifier_free_guidance=True, negative_prompt=text
        )
        return {"text": states, "pooled": pooled}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        sizes = [self.resolution, self.resolution, 0, 0, self.resolution, self.resolution]
        ids = self._constant(
            "sizes", len(latents), lambda rows: torch.tensor([sizes], dtype=self.dtype).repeat(rows, 1)
        )
        output: Tensor = module(
            latents,
            t,
            encoder_hidden_states=states["text"],
            timestep_cond=states.get(GUIDANCE),
            added_cond_kwargs={"text_embeds": states["pooled"], "time_ids": ids},
            return_dict=False,
        )[0]
        return output

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        vae = vae or self.vae
        unscaled: Tensor = latents / vae.config.scaling_factor
        if (known := self._normalisation(latents, vae)) is not None:
            unscaled = latents * known[0] / vae.config.scaling_factor + known[1]
        return unscaled

    def _scaled(self, latents: Tensor) -> Tensor:
        known = self._normalisation(latents, self.vae)
        plain = latents if known is None else (latents - known[1]) / known[0]
        scaled: Tensor = plain * self.vae.config.scaling_factor
        return scaled

    def _normalisation(self, latents: Tensor, vae: Any) -> tuple[Tensor, Tensor] | None:
        """Deviation and mean of each channel, for the autoencoders whose configuration has them."""
        mean, std = (vae.config.get(f"latents_{name}") for name in ("mean", "std"))
        if mean is None or std is None:
            return None
        scale, shift = (latents.new_tensor(value).view(1, len(mean), 1, 1) for value in (std, mean))
        return scale, shift
