"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from bench.models.base import TextSide
from bench.models.pipeline import PipelineModel
from bench.models.schedulers import resolution_shift

T5_TOKENS = 256


class StableDiffusion3(PipelineModel):
    """The parts of a `StableDiffusion3Pipeline` folder: MMDiT, VAE, two CLIP encoders and T5 (which may be absent)."""

    family = "sd3"
    pipeline_class = "StableDiffusion3Pipeline"
    network_part = "transformer"
    network_class = "diffusers:SD3Transformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:CLIPTextModelWithProjection",
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
        "text_encoder_3": "transformers:T5EncoderModel",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:CLIPTokenizer",
        "tokenizer_3": "transformers:T5TokenizerFast",
    }
    optional_parts = frozenset({"text_encoder_3", "tokenizer_3"})
    patch = 2

    def _token_limit(self) -> int:
        return T5_TOKENS if len(self.tokenizers) == 3 else int(self.tokenizers[-1].model_max_length)

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, _, pooled, _ = side.pipeline.encode_prompt(
            text,
            text,
            text,
            device=self.device,
            do_classifier_free_guidance=False,
            clip_skip=side.clip_skip,
            max_sequence_length=T5_TOKENS,
        )
        return {"text": states, "pooled": pooled}

    def _encode_negative(self, side: TextSide, text: str | None) -> dict[str, Tensor]:
        # Without clip_skip, as in diffusers.
        words = text or ""
        states, _, pooled, _ = side.pipeline.encode_prompt(
            words,
            words,
            words,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=T5_TOKENS,
        )
        return {"text": states, "pooled": pooled}

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        if not scheduler.config.get("use_dynamic_shifting"):
            return {}
        tokens = (self.side // self.network.config.patch_size) ** 2
        return {"mu": resolution_shift(scheduler.config, tokens, max_shift=1.16)}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = module(
            hidden_states=latents,
            timestep=t.expand(len(latents)),
            encoder_hidden_states=states["text"],
            pooled_projections=states["pooled"],
            return_dict=False,
        )[0]
        return output
