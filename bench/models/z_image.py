"""Z-Image and Z-Image-Turbo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from bench.models.base import Conditioning, TextSide
from bench.models.chat import template_tokens
from bench.models.pipeline import PipelineModel
from bench.models.ragged import RaggedText, Unpadded
from bench.models.schedulers import planned_scheduler, resolution_shift
from bench.store.atomic import read_bytes

if TYPE_CHECKING:
    from bench.suite.schema import Suite

TOKENS = 512
"""Most tokens of a prompt, the chat template included: the default of diffusers' pipeline."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """`model.cfg_truncation`: at times above `most`, from 0 (noise) to 1, there is no guidance."""

    most: float = 1.0

    @classmethod
    def of(cls, suite: Suite) -> Truncation:
        """That of a suite."""
        most = getattr(suite.model, "cfg_truncation", None)
        return cls() if most is None else cls(float(most))

    def is_guided(self, t: Tensor) -> bool:
        """Whether there is guidance at this timestep of the scheduler, 1000 to 0."""
        # 1 is the latest time there is, and asking a tensor on a device makes it wait.
        return self.most >= 1.0 or float((1000 - t.flatten()[0].float()) / 1000) <= self.most


def _timestep_options(config: Mapping[str, Any], steps: int, side: int) -> dict[str, Any]:
    """What diffusers' pipeline gives to `set_timesteps`, for latents of `side` x `side`."""
    return {
        "sigmas": torch.linspace(1.0, 1 / steps, steps).tolist(),
        "mu": resolution_shift(config, (side // 2) ** 2),
    }


def planned_timesteps(suite: Suite, steps: int, folder: Path | None) -> Any:
    """The scheduler of a run of this number of steps, without its network; None where the model's folder is needed.

    The autoencoder's configuration says how large the latents are, and so where the steps lie.
    """
    try:
        config = json.loads(read_bytes(folder / "vae" / "config.json")) if folder else None
        factor = 2 ** (len(config["block_out_channels"]) - 1) if config else 0
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not factor:
        return None
    side = suite.resolution // factor
    return planned_scheduler(suite.sampler, folder, lambda config: _timestep_options(config, steps, side))


class ZImage(RaggedText, PipelineModel):
    """The parts of a `ZImagePipeline` folder: transformer, VAE, Qwen3.

    The network predicts the negative velocity, and time runs from 0 (noise) to 1. Latents stay in float32 whatever the
    network computes in. Guidance here is Imagen's, where 1 means none; `guidance_scale` of diffusers' pipeline is one
    less: text + (guidance - 1) * (text - empty). `model.cfg_normalization` bounds the norm of a guided prediction by
    that many times the conditional one's; `model.cfg_truncation` leaves guidance out where the time is above it.
    """

    family = "z_image"
    pipeline_class = "ZImagePipeline"
    network_part = "transformer"
    network_class = "diffusers:ZImageTransformer2DModel"
    parts: ClassVar[Mapping[str, str]] = {
        "vae": "diffusers:AutoencoderKL",
        "text_encoder": "transformers:Qwen3Model",
        "tokenizer": "transformers:Qwen2Tokenizer",
    }
    patch = 2
    latents_dtype = torch.float32

    def __init__(self, folder: Path, suite: Suite, device: str = "cpu") -> None:
        super().__init__(folder, suite, device)
        self.normalization = float(getattr(suite.model, "cfg_normalization", None) or 0.0)
        self._truncation = Truncation.of(suite)
        self._unpadded = Unpadded()

    def _token_limit(self) -> int:
        return TOKENS - template_tokens(self.tokenizers[-1], enable_thinking=True)

    def _encode_text(self, side: TextSide, text: str) -> dict[str, Tensor]:
        states, _ = side.pipeline.encode_prompt(
            text, device=self.device, do_classifier_free_guidance=False, max_sequence_length=TOKENS
        )
        return {"text": states[0][None]}

    def _timestep_options(self, scheduler: Any) -> dict[str, Any]:
        return _timestep_options(scheduler.config, self.sampler.steps, self.side)

    def is_guided(self, t: Tensor) -> bool:
        return self._truncation.is_guided(t)

    def _pair(self, module: Any, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        rows = self._unpadded.rows
        captions = rows(dict(cond.states)) + rows(dict(cond.empty)) * len(latents)
        times = t.expand(len(latents)).repeat(2)
        with_text, without = self._run(module, latents.repeat(2, 1, 1, 1), times, captions).chunk(2)
        return with_text, without

    def _guided(self, with_text: Tensor, without: Tensor, guidance: float) -> Tensor:
        guided = [with_text[n] + (guidance - 1) * (with_text[n] - without[n]) for n in range(len(with_text))]
        if self.normalization > 0.0:
            guided = [self._bounded(one, with_text[n]) for n, one in enumerate(guided)]
        return torch.stack(guided)

    def _bounded(self, guided: Tensor, with_text: Tensor) -> Tensor:
        """The guided prediction of one sample, no longer than so many times the conditional one."""
        norm, most = torch.linalg.vector_norm(guided), torch.linalg.vector_norm(with_text) * self.normalization
        return guided * torch.where(norm > most, most / norm, torch.ones_like(norm))

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        return self._run(module, latents, t.expand(len(latents)), self._unpadded.rows(dict(states)))

    def _run(self, module: Any, latents: Tensor, t: Tensor, captions: list[Tensor]) -> Tensor:
        frames = list(latents.to(self.dtype).unsqueeze(2).unbind(0))
        output = module(frames, (1000 - t) / 1000, captions, return_dict=False)[0]
        return -torch.stack([one.float() for one in output]).squeeze(2)

    def _unscaled(self, latents: Tensor, vae: Any = None) -> Tensor:
        return super()._unscaled(latents.to((vae or self.vae).dtype), vae)
