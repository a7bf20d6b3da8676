"""FLUX.2 [klein]: guided (the base models) and step-distilled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.base import Conditioning, TextSide
from bench.models.chat import template_tokens
from bench.models.pipeline import PipelineModel

if TYPE_CHECKING:
    from bench.suite.schema import Suite

TOKENS = 512
"""Length that diffusers' pipeline pads prompts to, the chat template included."""


class Flux2(PipelineModel):
    """The parts of a `Flux2KleinPipeline` folder: transformer, VAE with normalised latents, Qwen3.

    Latents are packed as the network takes them, [N, tokens, channels]: 2 x 2 patches of the VAE's, normalised by its
    running statistics. Prompts are the hidden states of three layers of the language model. A pipeline that is marked
    `is_distilled` ignores guidance in diffusers; here guidance above 1 is refused for it.
    """

    family = "flux2"
    pipeline_class = "Flux2KleinPipeline"
    network_part = "transformer"
    network_class = "diffusers:Flux2Transformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKLFlux2",
        "text_encoder": "transformers:Qwen3ForCausalLM",
        "tokenizer": "transformers:Qwen2Tokenizer",
    }
    patch = 2
    separate_passes = True

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        super().__init__(folder, suite, device)
        # Made once and here: what is made in a step would be copied to the device in each.
        half, pipeline = self.side // 2, self.pipeline
        self._image_ids: Tensor = pipeline._prepare_latent_ids(torch.empty(1, 1, half, half)).to(self.device)
        self._text_ids: Tensor = pipeline._prepare_text_ids(torch.empty(1, TOKENS, 1)).to(self.device)

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(tokens, channels) of one sample's packed latents."""
        return ((self.side // 2) ** 2, int(self.network.config.in_channels))

    def _token_limit(self) -> int:
        return TOKENS - template_tokens(self.tokenizers[-1], enable_thinking=False)

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, _ = side.pipeline.encode_prompt(text, device=self.device, max_sequence_length=TOKENS)
        return {"text": states}

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        steps = self.sampler.steps
        sigmas = None if scheduler.config.get("use_flow_sigmas") else np.linspace(1.0, 1 / steps, steps)
        return {"sigmas": sigmas, "mu": compute_empirical_mu(self.latents_shape[0], steps)}

    def _pair(self, module: Any, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        if self.index.get("is_distilled"):
            raise UsageError(
                f"{self.folder} is step-distilled (is_distilled in its model_index.json), and diffusers ignores "
                "guidance for such models: set the suite's guidance (or base_guidance and tuned_guidance) to 1"
            )
        return super()._pair(module, latents, t, cond)

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        output: Tensor = module(
            hidden_states=latents.to(self.dtype),
            timestep=t.expand(len(latents)).to(latents.dtype) / 1000,
            guidance=None,
            encoder_hidden_states=states["text"],
            txt_ids=self._text_ids,
            img_ids=self._image_ids,
            return_dict=False,
        )[0]
        return output

    def _statistics(self, latents: Tensor, vae: Any) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel of the patches, as the autoencoder keeps them."""
        mean, variance = (value.view(1, -1, 1, 1) for value in (vae.bn.running_mean, vae.bn.running_var))
        deviation = torch.sqrt(variance + vae.config.batch_norm_eps)
        return mean.to(latents.device, latents.dtype), deviation.to(latents.device, latents.dtype)

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        half = self.side // 2
        grid = latents.transpose(1, 2).reshape(len(latents), -1, half, half)
        mean, deviation = self._statistics(latents, vae or self.vae)
        return torch.as_tensor(self.pipeline._unpatchify_latents(grid * deviation + mean))

    def _scaled(self, encoded: Tensor) -> Tensor:
        patches = self.pipeline._patchify_latents(encoded)
        mean, deviation = self._statistics(patches, self.vae)
        return torch.as_tensor(self.pipeline._pack_latents((patches - mean) / deviation))
