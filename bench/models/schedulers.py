"""The suite's diffusers scheduler: its class by name, its options checked, its timesteps set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bench.errors import UsageError, suggest

_OWN_NOISE = frozenset({"DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler"})
"""They draw their noise from a Brownian tree of their own, so samples would depend on the batch they are in."""


def scheduler_class(name: str, options: Mapping[str, Any]) -> Any:
    """A scheduler class of diffusers; UsageError for an unknown name or an option it does not have."""
    import diffusers

    known = [item for item in dir(diffusers) if item.endswith("Scheduler") and not item.startswith("Flax")]
    if name not in known:
        raise UsageError(f"unknown scheduler '{name}' in the suite's sampler.{suggest(name, known)}")
    if name in _OWN_NOISE:
        raise UsageError(
            f"{name} draws its own noise, so images would depend on the batch: take DPMSolverMultistepScheduler with "
            "sampler.options.algorithm_type = 'sde-dpmsolver++'."
        )
    found = getattr(diffusers, name)
    settings = [key for key in inspect.signature(found.__init__).parameters if key != "self"]
    for key in options:
        if key not in settings:
            raise UsageError(f"{name} has no option '{key}' (sampler.options).{suggest(key, settings)}")
    return found


def accepted(function: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the function has a parameter for."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


def resolution_shift(config: Mapping[str, Any], tokens: int, max_shift: float = 1.15) -> float:
    """mu of SD3's and FLUX's resolution-dependent shift: linear in the number of image tokens.

    The defaults are those of diffusers' pipelines for a scheduler configuration that does not say.
    """
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    first, last = config.get("base_shift", 0.5), config.get("max_shift", max_shift)
    slope = (last - first) / (high - low)
    return float(tokens * slope + (first - slope * low))
