"""What a prediction amounts to, for every kind of model: the clean latents x0 and the noise eps.

All kinds mix signal and noise linearly, z_t = a x0 + b eps, and differ in (a, b) and in what the network says:

| kind | a, b | network says | source |
|---|---|---|---|
| epsilon | a^2 + b^2 = 1 | eps | Ho et al. 2020, arXiv 2006.11239 |
| v_prediction | a^2 + b^2 = 1 | v = a eps - b x0 | Salimans and Ho 2022, arXiv 2202.00512 |
| sample | a^2 + b^2 = 1 | x0 | |
| flow | a = 1 - sigma, b = sigma | v = eps - x0 | Lipman et al. 2023, arXiv 2210.02747 |

z is what the network sees (after `scale_model_input`). Schedulers that keep their latents at another scale (Euler:
x0 + sigma eps) are covered by `to_latents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.schedulers import calls_per_step

KINDS = ("epsilon", "v_prediction", "sample", "flow")


@dataclass(frozen=True, slots=True)
class Mix:
    """One noise level, z = signal x0 + noise eps: scalars, or columns [N, 1, ...] with one level a sample."""

    kind: str
    signal: Tensor
    noise: Tensor

    def noised(self, clean: Tensor, eps: Tensor) -> Tensor:
        """z of clean latents and noise, [N, ...] each."""
        return self.signal * clean + self.noise * eps

    def target(self, clean: Tensor, eps: Tensor) -> Tensor:
        """What the network shall say at z."""
        if self.kind == "epsilon":
            return eps
        if self.kind == "sample":
            return clean
        return eps - clean if self.kind == "flow" else self.signal * eps - self.noise * clean

    def clean_of(self, prediction: Tensor, z: Tensor) -> Tensor:
        """x0 that a prediction at z amounts to."""
        if self.kind == "epsilon":
            return (z - self.noise * prediction) / self.signal
        if self.kind == "sample":
            return prediction
        # v: a z - b v = (a^2 + b^2) x0; flow: z - sigma v = (a + b) x0
        return z - self.noise * prediction if self.kind == "flow" else self.signal * z - self.noise * prediction

    def eps_of(self, prediction: Tensor, z: Tensor) -> Tensor:
        """The noise that a prediction at z amounts to."""
        if self.kind == "epsilon":
            return prediction
        if self.kind == "sample":
            return (z - self.signal * prediction) / self.noise
        return z + self.signal * prediction if self.kind == "flow" else self.signal * prediction + self.noise * z

    def moved(self, prediction: Tensor, shift: Tensor) -> Tensor:
        """What the network would have to say at the same z for its x0 to lie `shift` further, [N, ...] each.

        Of pure noise (signal 0) a prediction of eps says nothing of x0: it stays.
        """
        if self.kind == "sample":
            return prediction + shift
        # At one z, x0 + d means eps - (a / b) d; of both kinds of velocity the two together are -d / b.
        return prediction - shift * (self.signal if self.kind == "epsilon" else 1.0) / self.noise

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio a^2 / b^2."""
        return (self.signal / self.noise).square()


def kind_of(scheduler: Any) -> str:
    """What the network of this scheduler predicts. Raises UsageError for a kind that is not known here."""
    name = type(scheduler).__name__
    if name.startswith("FlowMatch"):
        return "flow"
    kind = str(scheduler.config.get("prediction_type", "epsilon"))
    kind = "flow" if kind == "flow_prediction" else kind
    if kind not in KINDS or name.startswith("EDM"):  # whose networks are told and say other things of the same names
        raise UsageError(f"the prediction type '{kind}' of {name} is not supported")
    return kind


def check_scheduler(scheduler: Any) -> None:
    """UsageError unless training can go through this scheduler: one place a step, a known kind of prediction."""
    kind_of(scheduler)
    if any(calls != 1 for calls in calls_per_step(scheduler)):
        raise UsageError(
            f"{type(scheduler).__name__} evaluates the network more than once per step, which training does not "
            "support: set another sampler.scheduler in the suite, such as DDPMScheduler"
        )


def mix_at(scheduler: Any, index: int) -> Mix:
    """The noise level of step `place` of the scheduler's timesteps."""
    kind = kind_of(scheduler)
    if kind == "flow":
        sigma = _sigma(scheduler, index)
        return Mix(kind, 1.0 - sigma, sigma)
    if _has_sigmas(scheduler):  # sigma = b / a, which Euler and DPM-Solver keep instead of a and b
        sigma = _sigma(scheduler, index)
        signal = (1.0 + sigma.square()).rsqrt()
        return Mix(kind, signal, sigma * signal)
    return _at_time(scheduler, kind, scheduler.timesteps[index].long())


def next_mix(scheduler: Any, index: int) -> Mix:
    """The level after step `place`; after the last step the least noisy level of training, not noise 0."""
    if index + 1 < len(scheduler.timesteps):
        return mix_at(scheduler, index + 1)
    kind = kind_of(scheduler)
    if kind == "flow":
        sigma = _sigma(scheduler, index).clamp(max=1.0 / int(scheduler.config.num_train_timesteps))
        return Mix(kind, 1.0 - sigma, sigma)
    return _at_time(scheduler, kind, torch.tensor(0))


def random_mix(scheduler: Any, count: int, axes: int, generator: torch.Generator) -> tuple[Mix, Tensor]:
    """A random training level for each of `count` samples as columns with `axes` axes, and the times [N].

    Uniform over the training times; for flow matching sigma is logit-normal(0, 1) (arXiv 2403.03206, section 3.1).
    """
    kind, total = kind_of(scheduler), int(scheduler.config.num_train_timesteps)
    if kind == "flow":
        sigma = torch.randn(count, generator=generator).sigmoid()
        column = sigma.reshape(count, *[1] * (axes - 1))
        return Mix(kind, 1.0 - column, column), sigma * total
    times = torch.randint(0, total, (count,), generator=generator)
    mix = _at_time(scheduler, kind, times)
    shape = (count, *[1] * (axes - 1))
    return Mix(kind, mix.signal.reshape(shape), mix.noise.reshape(shape)), times


def model_input(scheduler: Any, latents: Tensor, index: int) -> Tensor:
    """The scheduler's latents as the network sees them."""
    scale = getattr(scheduler, "scale_model_input", None)  # flow-matching schedulers have none: nothing to scale
    return latents if scale is None else torch.as_tensor(scale(latents, scheduler.timesteps[index]))


def to_latents(scheduler: Any, z: Tensor, index: int) -> Tensor:
    """The inverse of `model_input`: latents as the scheduler keeps them, for a trajectory that enters at `place`."""
    return z / model_input(scheduler, torch.ones((), dtype=z.dtype, device=z.device), index)


def _has_sigmas(scheduler: Any) -> bool:
    sigmas = getattr(scheduler, "sigmas", None)
    return sigmas is not None and len(sigmas) > len(scheduler.timesteps)


def _sigma(scheduler: Any, index: int) -> Tensor:
    return torch.as_tensor(scheduler.sigmas[index], dtype=torch.float32)


def _at_time(scheduler: Any, kind: str, times: Tensor) -> Mix:
    """The variance-preserving level of training times, from the cumulative product of 1 - beta."""
    kept = scheduler.alphas_cumprod[times.cpu()]
    return Mix(kind, kept.sqrt(), (1.0 - kept).sqrt())
