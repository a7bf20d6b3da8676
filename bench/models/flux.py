"""FLUX.1, whose guidance is distilled into the network: an input, not a second evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.models.base import TextSide
from bench.models.pipeline import PipelineModel
from bench.models.schedulers import resolution_shift

if TYPE_CHECKING:
    from bench.suite.schema import Suite

T5_TOKENS = 512
EMBEDDED_GUIDANCE = 3.5
"""The default of diffusers' FluxPipeline."""


class Flux(PipelineModel):
    """The parts of a `FluxPipeline` folder: transformer, VAE, CLIP (pooled) and T5.

    Latents are packed as the network takes them, [N, tokens, channels]: 2 x 2 patches of the VAE's. The suite's
    `model.embedded_guidance` is the guidance that the network was given as an input in its distillation. Real
    classifier-free guidance (`guidance` above 1) is refused unless `model.true_cfg` asks for it.
    """

    family = "flux"
    pipeline_class = "FluxPipeline"
    network_part = "transformer"
    network_class = "diffusers:FluxTransformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:CLIPTextModel",
        "text_encoder_2": "transformers:T5EncoderModel",
        "tokenizer": "transformers:CLIPTokenizer",
        "tokenizer_2": "transformers:T5TokenizerFast",
    }
    patch = 2
    separate_passes = True

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        super().__init__(folder, suite, device)
        wanted = getattr(suite.model, "embedded_guidance", None)
        self.embedded_guidance = EMBEDDED_GUIDANCE if wanted is None else float(wanted)

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(tokens, channels) of one sample's packed latents."""
        return ((self.side // 2) ** 2, int(self.network.config.in_channels))

    def _token_limit(self) -> int:
        return T5_TOKENS

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, pooled, _ = side.pipeline.encode_prompt(text, device=self.device, max_sequence_length=T5_TOKENS)
        return {"text": states, "pooled": pooled}

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        steps = self.sampler.steps
        sigmas = None if scheduler.config.get("use_flow_sigmas") else np.linspace(1.0, 1 / steps, steps)
        return {"sigmas": sigmas, "mu": resolution_shift(scheduler.config, self.latents_shape[0])}

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        rows, half = len(latents), self.side // 2
        guidance = None
        if self.network.config.guidance_embeds:
            guidance = torch.full([rows], self.embedded_guidance, device=latents.device, dtype=torch.float32)
        image_ids = self._constant(
            "image_ids", half, lambda side: self.pipeline._prepare_latent_image_ids(1, side, side, "cpu", self.dtype)
        )
        output: Tensor = module(
            hidden_states=latents,
            timestep=t.expand(rows).to(latents.dtype) / 1000,
            guidance=guidance,
            pooled_projections=states["pooled"],
            encoder_hidden_states=states["text"],
            txt_ids=torch.zeros(states["text"].shape[1], 3, device=latents.device, dtype=self.dtype),
            img_ids=image_ids,
            return_dict=False,
        )[0]
        return output

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        unpacked = self.pipeline._unpack_latents(latents, self.resolution, self.resolution, self._vae_factor())
        return super()._unscaled(unpacked, vae)

    def _scaled(self, encoded: Tensor) -> Tensor:
        packed: Tensor = self.pipeline._pack_latents(super()._scaled(encoded), *encoded.shape)
        return packed
