"""The reward that is climbed: one differentiable scorer, or a weighted sum of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.errors import UsageError
from bench.suite.schema import Suite, check_metrics
from metrics.errors import MissingWeightsError


class Reward(Protocol):
    """Anything that gives pixels a value with gradient."""

    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """Values [N] of float pixels [N, 3, H, W] in [0, 1]; higher is better."""


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """r = sum_k w_k r_k over scorers, in each scorer's own unit."""

    parts: tuple[tuple[float, Any], ...]

    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """The weighted sum, [N]."""
        values = [weight * torch.as_tensor(scorer.score_pixels(pixels, prompts)) for weight, scorer in self.parts]
        return torch.stack(values).sum(dim=0)


@dataclass(frozen=True, slots=True)
class Checked:
    """A scorer whose values are what training needs: a finite number an image, with gradient where pixels have one."""

    name: str
    scorer: Any

    def score_pixels(self, pixels: Tensor, prompts: Sequence[str]) -> Tensor:
        """The scorer's values, [N]. Raises UsageError for a reward that cannot be climbed."""
        values = self.scorer.score_pixels(pixels, prompts)
        if not isinstance(values, Tensor) or tuple(values.shape) != (len(pixels),):
            got = f"shape {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise UsageError(
                f"reward '{self.name}' must return a tensor with one value per image, [{len(pixels)}] here, got "
                f"{got}: correct its score_pixels"
            )
        if pixels.requires_grad and not values.requires_grad:
            raise UsageError(
                f"reward '{self.name}' gives values without gradient: its score_pixels must be differentiable (no "
                "thresholds, no .detach(), no NumPy), or use another --reward"
            )
        broken = int((~values.detach().isfinite()).sum())
        if broken:
            raise UsageError(
                f"reward '{self.name}' is NaN or infinite for {broken} of {len(values)} images: correct it, lower "
                "--learning-rate, or use another --reward; the last checkpoint is kept"
            )
        return values


def load_rewards(weights: Mapping[str, float], suite: Suite, device: str) -> Reward:
    """The scorers of `weights` (name -> weight) with the weights that the suite names, else the published ones.

    A scorer whose lower values are better counts negative. Raises BenchError or MetricError (its checkpoint is not
    there), one sentence.
    """
    import metrics

    sign = {name: -1.0 if metrics.info(name).direction.value == "lower" else 1.0 for name in weights}
    parts = tuple(
        (sign[name] * weight, Checked(name, load_scorer(name, suite, device))) for name, weight in weights.items()
    )
    return parts[0][1] if len(parts) == 1 and parts[0][0] == 1.0 else WeightedSum(parts)


def load_scorer(name: str, suite: Suite, device: str) -> Any:
    """One scorer with the suite's weights and options. Raises BenchError or MetricError, one sentence."""
    from bench.scoring.metric_weights import load_metric

    return load_metric(name, suite.metrics.get(name), device)


def check_differentiable(name: str, suite: Suite) -> None:
    """Raise UsageError unless `name` is a metric of images whose value has a gradient; its weights are not loaded."""
    check_metrics([name], suite.metrics)
    if name not in differentiable():
        raise _no_gradient(name)


def differentiable() -> list[str]:
    """Names of the metrics that can be climbed."""
    import metrics
    from bench.registry.metrics import metric_names

    found = []
    for name in metric_names():
        facts = metrics.info(name)
        if facts.kind.value == "image" and not facts.unsupported and _has_gradient(name):
            found.append(name)
    return found


def _has_gradient(name: str) -> bool:
    from metrics.catalogue import find_class

    try:
        return hasattr(find_class(name), "score_pixels")
    except MissingWeightsError:  # a package that is not installed
        return False


def _no_gradient(name: str) -> UsageError:
    return UsageError(f"metric '{name}' has no gradient: train on one of {', '.join(differentiable())}.")
