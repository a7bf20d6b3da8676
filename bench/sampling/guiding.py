"""The arithmetic of guiders: each combines predictions of one side, row by row, so that no image depends on its batch.

The formulas are those of the papers named in `bench.methods.guider`, in the order of operations of diffusers' guiders,
whose results they equal bit for bit where it has one (tests/parity/test_guiders.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.base import Conditioning, DiffusionModel
from bench.models.block_cache import first_block_caching
from bench.models.guided import rescaled
from bench.models.reuse import reusing
from bench.models.taylor_cache import taylor_caching
from bench.sampling.rules import NoisyPrompt, Projected, Weaker, ZeroStar
from bench.sampling.tree import Side


@dataclass(slots=True)
class State:
    """What is remembered from step to step along one trajectory, by network: no step writes into the tensors.

    `averages` are the running differences under APG, `features` the deep ones of a UNet, or what a transformer's blocks
    added.
    """

    averages: dict[tuple[str, Projected], Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)

    def copy(self) -> State:
        """For another branch."""
        return State(dict(self.averages), dict(self.features))


NoiseOf = Callable[[Sequence[int]], Tensor]
"""Standard normal noise [N, *shape] of the batch at this step, by the shape of one row."""
_NOISED = ("text", "pooled")
"""The states of a prompt that CADS adds noise to, where a family has them; masks and sizes stay."""


def guided(
    model: DiffusionModel, side: Side, latents: Tensor, t: Tensor, cond: Conditioning, memory: tuple[State, NoiseOf]
) -> Tensor:
    """One side's prediction under its rule, of the latents' shape. `memory` is (state, which is updated, noise)."""
    module, features = model.networks[side.network].module, memory[0].features
    with contextlib.ExitStack() as caches:
        if side.reuse:
            caches.enter_context(reusing(module, side.reuse, features, side.network))
        if side.threshold is not None:
            caches.enter_context(first_block_caching(module, side.threshold, len(latents), features, side.network))
        if side.taylor is not None:
            caches.enter_context(taylor_caching(module, dataclasses.asdict(side.taylor), features, side.network))
        return _guided(model, side, latents, t, cond, memory)


def _guided(
    model: DiffusionModel, side: Side, latents: Tensor, t: Tensor, cond: Conditioning, memory: tuple[State, NoiseOf]
) -> Tensor:
    rule, (state, noise_of) = side.rule, memory
    if rule is None:
        return model.predict(side.network, latents, t, cond, side.guidance)
    if isinstance(rule, NoisyPrompt):
        return model.predict(side.network, latents, t, noisy(cond.of(side.network), rule, noise_of), side.guidance)
    if isinstance(rule, ZeroStar) and rule.zero:
        return torch.zeros_like(latents)
    if isinstance(rule, Weaker):
        with_text = model.predict(side.network, latents, t, cond, 1.0)
        weak = model.predict(rule.weak, latents, t, cond, 1.0)
        result = weak + side.guidance * (with_text - weak)
    else:
        with_text, without = _pair(model, side, latents, t, cond)
        if isinstance(rule, Projected):
            key = (side.network, rule)
            difference = with_text - without
            if rule.momentum:
                before = state.averages.get(key, torch.zeros_like(difference))
                difference = state.averages[key] = difference + rule.momentum * before
            result = without + side.guidance * projected(difference, with_text, rule)
        else:
            without = without * fitted_scale(with_text, without)
            result = without + side.guidance * (with_text - without)
    factor = float(getattr(model.networks[side.network], "guidance_rescale", 0.0))
    return rescaled(result, with_text, factor) if factor > 0 else result


def _pair(model: Any, side: Side, latents: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
    if not hasattr(model, "predict_pair"):
        raise UsageError(
            f"the model family of {type(model).__name__} has no predict_pair, which guiders need: leave the method out"
        )
    with_text, without = model.predict_pair(side.network, latents, t, cond)
    return with_text, without


def projected(difference: Tensor, with_text: Tensor, rule: Projected) -> Tensor:
    """APG: the difference shortened to the threshold, with `eta` of its part along the conditional prediction."""
    dims = list(range(-1, -difference.ndim, -1))
    if rule.norm_threshold > 0:
        norm = difference.norm(p=2, dim=dims, keepdim=True)
        difference = difference * torch.minimum(torch.ones_like(difference), rule.norm_threshold / norm)
    # In float64 but where a device has none, as diffusers does: the two parts nearly cancel.
    apart = difference.device.type in {"mps", "npu"}
    whole, along = ((one.cpu() if apart else one).double() for one in (difference, with_text))
    along = torch.nn.functional.normalize(along, dim=dims)  # type: ignore[arg-type]
    parallel = (whole * along).sum(dim=dims, keepdim=True) * along
    kept, other = (one.to(difference.device, difference.dtype) for one in (parallel, whole - parallel))
    return torch.as_tensor(other + rule.eta * kept)


def fitted_scale(with_text: Tensor, without: Tensor) -> Tensor:
    """CFG-Zero*: the factor of the unconditional prediction that is nearest to the conditional one, [N, 1, ...]."""
    a, b = with_text.flatten(1).float(), without.flatten(1).float()
    factor = (a * b).sum(dim=1, keepdim=True) / ((b**2).sum(dim=1, keepdim=True) + 1e-8)
    return torch.as_tensor(factor.to(with_text.dtype).view(-1, *(1,) * (with_text.ndim - 1)))


def noisy(cond: Conditioning, rule: NoisyPrompt, noise_of: NoiseOf) -> Conditioning:
    """CADS: the conditioning with noise in its text states, each row with its own mean and deviation restored."""
    states = dict(cond.states)
    for name in _NOISED:
        if name in states:
            states[name] = _annealed(states[name], rule, noise_of(states[name].shape[1:]))
    return Conditioning(states, cond.empty)


def _annealed(state: Tensor, rule: NoisyPrompt, noise: Tensor) -> Tensor:
    dims = list(range(1, state.ndim))
    before = state.float()
    after = rule.gamma**0.5 * before + rule.noise_scale * (1.0 - rule.gamma) ** 0.5 * noise.to(before)
    mean, deviation = after.mean(dims, keepdim=True), after.std(dims, keepdim=True)
    wanted_mean, wanted = before.mean(dims, keepdim=True), before.std(dims, keepdim=True)
    # States of zeros (an absent encoder) without noise have no deviation to divide by: they stay zeros.
    restored = (after - mean) / deviation.clamp_min(torch.finfo(after.dtype).tiny) * wanted + wanted_mean
    return torch.as_tensor((rule.psi * restored + (1.0 - rule.psi) * after).to(state.dtype))
