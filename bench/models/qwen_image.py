"""Qwen-Image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.errors import MissingError
from bench.models.base import TextSide
from bench.models.pipeline import PipelineModel
from bench.models.ragged import MASK, RaggedText
from bench.models.schedulers import resolution_shift

if TYPE_CHECKING:
    from bench.suite.schema import Suite

TOKENS = 512
"""Most tokens of a prompt that diffusers' pipeline keeps by default."""
NEGATIVE = " "
"""The negative prompt of the published examples; without one diffusers' pipeline does not guide."""


class QwenImage(RaggedText, PipelineModel):
    """The parts of a `QwenImagePipeline` folder: transformer, VAE of one video frame, Qwen2.5-VL.

    Latents are packed as the network takes them, [N, tokens, channels]: 2 x 2 patches of the VAE's. `guidance` is
    diffusers' `true_cfg_scale`; the guided prediction of each token is given the norm of the conditional one.
    """

    family = "qwen_image"
    pipeline_class = "QwenImagePipeline"
    network_part = "transformer"
    network_class = "diffusers:QwenImageTransformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKLQwenImage",
        "text_encoder": "transformers:Qwen2_5_VLForConditionalGeneration",
        "tokenizer": "transformers:Qwen2Tokenizer",
    }
    patch = 2
    separate_passes = True

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        super().__init__(folder, suite, device)
        if self.network.config.guidance_embeds:
            raise MissingError(
                f"{folder} has a guidance-distilled network (guidance_embeds), which family '{self.family}' does not "
                "read: use a checkpoint without it"
            )

    @property
    def latents_shape(self) -> tuple[int, ...]:
        """(tokens, channels) of one sample's packed latents."""
        return ((self.side // 2) ** 2, int(self.network.config.in_channels))

    def _vae_factor(self) -> int:
        return int(2 ** len(self.vae.temperal_downsample))

    def _place_vae(self, vae: Any) -> None:
        vae.to(self.device)  # its convolutions are over time as well, and channels_last is for two axes

    def _token_limit(self) -> int:
        return TOKENS

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, _ = side.pipeline.encode_prompt(text, device=self.device, max_sequence_length=TOKENS)
        return {"text": states}

    def _encode_negative(self, side: TextSide, text: str | None) -> dict[str, Tensor]:
        return self._encode_text(side, NEGATIVE if text is None else text)

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        steps = self.sampler.steps
        mu = resolution_shift(scheduler.config, self.latents_shape[0])
        return {"sigmas": np.linspace(1.0, 1 / steps, steps), "mu": mu}

    def _guided(self, with_text: Tensor, without: Tensor, guidance: float) -> Tensor:
        guided = without + guidance * (with_text - without)
        norms = [torch.norm(one, dim=-1, keepdim=True) for one in (with_text, guided)]
        return torch.as_tensor(guided * (norms[0] / norms[1]))

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        rows, half = len(latents), self.side // 2
        output: Tensor = module(
            hidden_states=latents,
            timestep=t.expand(rows).to(latents.dtype) / 1000,
            guidance=None,
            encoder_hidden_states_mask=states.get(MASK),
            encoder_hidden_states=states["text"],
            img_shapes=[[(1, half, half)]] * rows,
            return_dict=False,
        )[0]
        return output

    def _decoded(self, latents: Tensor, vae: Any) -> Tensor:
        return super()._decoded(latents, vae)[:, :, 0]

    def _encoded(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        return super()._encoded(pixels.unsqueeze(2), generator)

    def _statistics(self, latents: Tensor, vae: Any) -> tuple[Tensor, Tensor]:
        """Mean of each channel and one over its deviation, [1, C, 1, 1, 1]."""
        mean, deviation = (torch.tensor(vae.config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std"))
        return mean.to(latents.device, latents.dtype), 1.0 / deviation.to(latents.device, latents.dtype)

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        vae = vae or self.vae
        size = self.resolution
        frames = self.pipeline._unpack_latents(latents, size, size, self._vae_factor()).to(vae.dtype)
        mean, inverse = self._statistics(frames, vae)
        return torch.as_tensor(frames / inverse + mean)

    def _scaled(self, encoded: Tensor) -> Tensor:
        mean, inverse = self._statistics(encoded, self.vae)
        rows, channels, _, height, width = encoded.shape
        packed = self.pipeline._pack_latents(((encoded - mean) * inverse)[:, :, 0], rows, channels, height, width)
        return torch.as_tensor(packed)
