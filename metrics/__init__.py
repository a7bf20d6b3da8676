"""Metrics of text-to-image models: importable alone, light until a metric is loaded.

    import metrics
    scorer = metrics.load("pickscore", weights="path/or/hub-id", device="cpu")
    scorer.score(images, prompts)          # float32 tensor [N]

`images` is a list of PIL images or a uint8 tensor [N, 3, H, W].
"""

from __future__ import annotations

from typing import Any

from metrics.catalogue import find_class, info, names, register
from metrics.errors import BadInputError, MetricError, MissingWeightsError, UnknownMetricError
from metrics.types import Card, Direction, Facts, Kind, Request

__all__ = [
    "BadInputError",
    "Card",
    "Direction",
    "Facts",
    "Kind",
    "MetricError",
    "MissingWeightsError",
    "Request",
    "UnknownMetricError",
    "info",
    "load",
    "names",
    "register",
]

DTYPES = ("float32", "float16", "bfloat16")


def load(
    name: str,
    weights: Any = None,
    device: str = "cpu",
    dtype: str = "float32",
    label: str | None = None,
    tf32: bool = False,
    **options: Any,
) -> Any:
    """Load a metric, ready to score.

    `weights` is a local path (which wins) or a hub id "owner/name[@revision][:file]"; without it the published
    weights are used. `label` is printed behind the title where the weights are not the published ones. `dtype` is
    "float32", "float16" or "bfloat16", that of the networks (some metrics take float32 only); `tf32` lets CUDA devices
    multiply float32 as TensorFloat-32. Both change values and are part of the card. `options` are listed in
    `info(name).options`. Raises UnknownMetricError (name or option), MissingWeightsError (weights, package or device
    absent or damaged) or MetricError.

    >>> import metrics
    >>> scorer = metrics.load("lpips", weights=WEIGHTS / "lpips", label="(shapes)")
    >>> scorer.card.facts.name
    'lpips'
    """
    facts = info(name)
    for key, value in options.items():
        if key not in facts.options:
            known = ", ".join(facts.options) or "none"
            raise UnknownMetricError(f"metric '{name}' has no option '{key}': its options are {known}")
        if isinstance(facts.options[key], bool) and not isinstance(value, bool):  # "false" would be taken for true
            raise MetricError(f"metric '{name}': {key} = {value!r} must be true or false (not a string, not a number)")
    if dtype not in DTYPES:
        raise MetricError(f"dtype '{dtype}' is not one of {', '.join(DTYPES)}")
    if tf32 and dtype != "float32":
        raise MetricError(f"metric '{name}': tf32 concerns float32 only and dtype is {dtype}: remove one of both")
    chosen = {**facts.options, **options}
    request = Request(None if weights is None else str(weights), str(device), dtype, label, chosen, tf32)
    found = find_class(name)
    import torch

    with torch.random.fork_rng(devices=[]):  # building networks draws numbers: the caller's generator must not move
        return found.load(facts, request)
