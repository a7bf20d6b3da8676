"""Stable Diffusion 1.x and 2.x, and what is built like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from bench.models.base import TextSide
from bench.models.guided import GUIDANCE
from bench.models.pipeline import PipelineModel


class StableDiffusion(PipelineModel):
    """The parts of a `StableDiffusionPipeline` folder: UNet, VAE, one CLIP text encoder."""

    family = "sd"
    pipeline_class = "StableDiffusionPipeline"
    network_part = "unet"
    network_class = "diffusers:UNet2DConditionModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:CLIPTextModel",
        "tokenizer": "transformers:CLIPTokenizer",
    }
    pipeline_options: ClassVar[Mapping[str, Any]] = {
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        if side.clip_skip is not None and not hasattr(side.pipeline.text_encoder, "text_model"):
            # diffusers 0.42 looks for the final norm in `text_model`, which transformers 5 has merged into the encoder.
            object.__setattr__(side.pipeline.text_encoder, "text_model", side.pipeline.text_encoder)
        return {"text": side.pipeline.encode_prompt(text, self.device, 1, False, clip_skip=side.clip_skip)[0]}

    def _encode_negative(self, side: TextSide, text: str | None) -> dict[str, Tensor]:
        # Without clip_skip, as in diffusers.
        return {"text": side.pipeline.encode_prompt(text or "", self.device, 1, False)[0]}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = module(
            latents,
            t,
            encoder_hidden_states=states["text"],
            timestep_cond=states.get(GUIDANCE),
            return_dict=False,
        )[0]
        return output
