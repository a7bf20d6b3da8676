"""Guidance of a step: one evaluation, or two that are put together as the family's pipeline does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.models.base import Conditioning, Network
from bench.models.compiled import filled, filled_conditioning
from bench.models.networks import Networks
from bench.models.skipping import leaving_out
from bench.models.states import States
from bench.runtime.devices import sent

GUIDANCE = "guidance"
"""Name of the embedded guidance among the states that a network of a latent consistency model is given."""


class Guided:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) in Imagen's parametrisation: 1 means none.

    A family says what its own pipeline does otherwise: `separate_passes` evaluates both halves one after the other,
    `_pair` gives the two predictions, `_guided` puts them together.
    """

    separate_passes: ClassVar[bool] = False
    """Whether the pipeline evaluates the two halves one after the other: as one batch their last bits may differ."""
    networks: dict[str, Network]
    pipeline: Any
    _ready: Networks
    _constants: dict[tuple[str, int], Tensor]
    device: torch.device
    is_compiled: bool = False
    _largest_batch: int = 0

    def predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        """Prediction for scaled latents [N, ...]; with guidance > 1 both halves run, as one batch of 2 N or in turn.

        A network of a latent consistency model takes its guidance as an input, in one evaluation.
        """
        count, latents, cond = self._filled(latents, cond)
        return self._predict(network, latents, t.to(latents.device), cond, guidance)[:count]

    def _predict(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning, guidance: float) -> Tensor:
        module, own, known = self._ready.ready(network), cond.of(network), self.networks[network]
        if known.guidance_is_embedded or guidance <= 1.0 or not self.is_guided(t):
            embedded = {GUIDANCE: self._guidance(module, latents, guidance)} if known.guidance_is_embedded else {}
            with leaving_out(module, known.skipped):
                return self._evaluate(module, latents, t, {**own.states, **embedded})
        with_text, without = self._predict_pair(network, latents, t, cond)
        guided = self._guided(with_text, without, guidance)
        return rescaled(guided, with_text, known.guidance_rescale) if known.guidance_rescale > 0 else guided

    def predict_pair(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """Predictions for scaled latents [N, ...] with and without the prompt, which guidance puts together."""
        count, latents, cond = self._filled(latents, cond)
        with_text, without = self._predict_pair(network, latents, t.to(latents.device), cond)
        return with_text[:count], without[:count]

    def _predict_pair(self, network: str, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        module = self._ready.ready(network)
        with leaving_out(module, self.networks[network].skipped):
            return self._pair(module, latents, t, cond.of(network))

    def _filled(self, latents: Tensor, cond: Conditioning) -> tuple[int, Tensor, Conditioning]:
        """The number of rows; for compiled networks with rows up to the largest batch so far, as they were compiled."""
        count = len(latents)
        if self.is_compiled:
            latents = latents.contiguous()  # the first ones and a network's own differ in layout: another graph
            self._largest_batch = max(self._largest_batch, count)
            if count < self._largest_batch:
                return count, filled(latents, self._largest_batch), filled_conditioning(cond, self._largest_batch)
        return count, latents, cond

    def is_guided(self, t: Tensor) -> bool:
        """Whether guidance acts at time t: pipelines may leave it out at some."""
        return True

    def _pair(self, module: Any, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """The predictions with the prompt and with the empty or negative one, [N, ...] each."""
        empty = {name: cond.empty[name].expand(len(latents), *cond.empty[name].shape[1:]) for name in cond.empty}
        if self.separate_passes:
            return self._evaluate(module, latents, t, cond.states), self._evaluate(module, latents, t, empty)
        both = self._joined(empty, cond.states)
        times = torch.cat([t, t]) if t.ndim else t
        without, with_text = self._evaluate(module, torch.cat([latents, latents]), times, both).chunk(2)
        return with_text, without

    def _joined(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> States:
        """The states of two batches as one."""
        return {name: torch.cat([first[name], second[name]]) for name in second}

    def _guided(self, with_text: Tensor, without: Tensor, guidance: float) -> Tensor:
        """The guided prediction of these two."""
        return without + guidance * (with_text - without)

    def _guidance(self, module: Any, latents: Tensor, guidance: float) -> Tensor:
        """The guidance as diffusers embeds it for each row (Luo et al. 2023, arXiv 2310.04378), [N, channels]."""
        width = module.config.time_cond_proj_dim

        def embedded(rows: int) -> Tensor:
            scale = torch.tensor(guidance - 1).repeat(rows)
            made = self.pipeline.get_guidance_scale_embedding(scale, embedding_dim=width)
            return torch.as_tensor(made).to(latents.dtype)

        return self._constant(f"guidance {guidance} {width} {latents.dtype}", len(latents), embedded)

    def _constant(self, name: str, rows: int, make: Callable[[int], Tensor]) -> Tensor:
        """What a network is given at every step alike, made on the CPU by the first: a device is not waited for."""
        if (name, rows) not in self._constants:
            with torch.inference_mode(False):  # training may want it as well
                self._constants[name, rows] = sent(make(rows), self.device)
        return self._constants[name, rows]

    def _evaluate(self, module: Any, latents: Tensor, t: Tensor, states: Mapping[str, Tensor]) -> Tensor:
        """The network's output for each row alone, of the latents' shape; t is one time, or one a row."""
        raise NotImplementedError


def rescaled(guided: Tensor, with_text: Tensor, factor: float) -> Tensor:
    """The guided prediction with its deviation moved towards that of the conditional one, as diffusers does."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    return torch.as_tensor(rescale_noise_cfg(guided, with_text, guidance_rescale=factor))
