"""The suite's diffusers scheduler: its class by name, its options checked, its timesteps set."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError, suggest
from bench.models.loading import quiet, short

FINAL = "final"
"""The option of `sampler.options` that is ours: what the last step returns."""
_PREDICTED = "predicted_original"
_FIELD = "pred_original_sample"
"""What diffusers calls it in the output of a step."""
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
            f"{name} draws its own noise, so that images would depend on the batch: use DPMSolverMultistepScheduler "
            "with sampler.options.algorithm_type = 'sde-dpmsolver++'"
        )
    found = getattr(diffusers, name)
    _check_final(found, options)
    options = without_final(options)
    settings = [key for key in inspect.signature(found.__init__).parameters if key != "self"]
    for key in options:
        if key not in settings:
            raise UsageError(f"{name} has no option '{key}' (sampler.options).{suggest(key, [*settings, FINAL])}")
    return found


@contextlib.contextmanager
def told(scheduler: Any, sampler: Any) -> Iterator[None]:
    """UsageError in place of whatever a scheduler raises for settings that it cannot have."""
    try:
        yield
    except Exception as error:  # each scheduler checks its settings in a way of its own
        name = scheduler.__name__ if isinstance(scheduler, type) else type(scheduler).__name__
        raise UsageError(
            f"{name} cannot be set up with sampler.steps = {sampler.steps} and the model's and the suite's options "
            f"({short(error)}): change sampler.steps or sampler.options, or use another sampler.scheduler"
        ) from error


def make_scheduler(kind: Any, config: Mapping[str, Any], sampler: Any) -> Any:
    """A scheduler of a class from the model's configuration, with the suite's options in place of its own."""
    with quiet(), told(kind, sampler):
        scheduler = kind.from_config(config, **without_final(sampler.options))
    scheduler.returns_original = sampler.options.get(FINAL) == _PREDICTED
    return scheduler


def without_final(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are the scheduler's own."""
    return {key: value for key, value in options.items() if key != FINAL}


def _check_final(kind: Any, options: Mapping[str, Any]) -> None:
    """UsageError for a `final` that is unknown, or that the scheduler's steps do not tell."""
    if FINAL not in options:
        return
    if options[FINAL] != _PREDICTED:
        raise UsageError(f"sampler.options.{FINAL} must be '{_PREDICTED}', got {options[FINAL]!r}")
    module = inspect.getmodule(kind)
    outputs = [value for name, value in vars(module).items() if name.endswith("SchedulerOutput")]
    if not any(_FIELD in getattr(output, "__dataclass_fields__", {}) for output in outputs):
        raise UsageError(
            f"{kind.__name__} does not tell the predicted original of a step, which sampler.options.{FINAL} asks for: "
            "use DDIMScheduler, DDPMScheduler or EulerDiscreteScheduler, or remove the option"
        )


def take_step(scheduler: Any, prediction: Tensor, index: int, latents: Tensor, extra: Mapping[str, Any]) -> Tensor:
    """The latents after the step at this place of `scheduler.timesteps`.

    After the last one the predicted original, where the suite asks for that.
    """
    t, last = scheduler.timesteps[index], index == len(scheduler.timesteps) - 1
    if not (getattr(scheduler, "returns_original", False) and last):
        return torch.as_tensor(scheduler.step(prediction, t, latents, **extra, return_dict=False)[0])
    return torch.as_tensor(getattr(scheduler.step(prediction, t, latents, **extra), _FIELD))


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


def calls_per_step(scheduler: Any) -> tuple[int, ...]:
    """How many of `scheduler.timesteps` belong to each denoising step, that is, how often it evaluates its networks.

    Once, or twice for schedulers of second order (Heun, KDPM2), the last step aside. PNDM (Liu et al. 2022, arXiv
    2202.09778) warms up: by a second look at its first step, or by four evaluations (Runge-Kutta) in each of three.
    """
    calls, order = len(scheduler.timesteps), int(getattr(scheduler, "order", None) or 1)
    if type(scheduler).__name__ == "PNDMScheduler":
        steps = int(scheduler.num_inference_steps)
        first = (2,) if scheduler.config.skip_prk_steps else (4, 4, 4)
        return (*first, *[1] * (steps - len(first))) if steps > len(first) else (1,) * calls
    return tuple(min(order, calls - begin) for begin in range(0, calls, order))


def planned_calls(sampler: Any, steps: int, folder: Path | None) -> tuple[int, ...]:
    """`calls_per_step` of the suite's scheduler at this number of steps, without its model; () where it cannot be told.

    `folder` is the model's, whose configuration decides for some schedulers; None: the scheduler's own defaults do.
    """
    scheduler = planned_scheduler(sampler, folder, lambda config: {"num_inference_steps": steps, "mu": 1.0})
    calls = () if scheduler is None else calls_per_step(scheduler)
    return calls if len(calls) == steps else ()


def planned_scheduler(sampler: Any, folder: Path | None, options: Callable[[Any], dict[str, Any]]) -> Any:
    """The suite's scheduler with its timesteps set, without its model; None where it cannot be set up.

    `options` of its configuration are the arguments of `set_timesteps`, as far as it takes them. `folder` is the
    model's, whose configuration decides for some schedulers; None: the scheduler's own defaults do.
    """
    file = None if folder is None else folder / "scheduler" / "scheduler_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else {}
        scheduler = make_scheduler(scheduler_class(sampler.scheduler, sampler.options), config, sampler)
        with quiet(), told(scheduler, sampler):
            scheduler.set_timesteps(**accepted(scheduler.set_timesteps, options(scheduler.config)))
    except (OSError, ValueError, UsageError):  # a run says what is wrong, in a sentence
        return None
    return scheduler


def check_calls_per_step(scheduler: Any, steps: int) -> None:
    """UsageError unless the timesteps of the scheduler are those of `steps` denoising steps, and its step is usual."""
    calls, name = calls_per_step(scheduler), type(scheduler).__name__
    if len(calls) != steps or sum(calls) != len(scheduler.timesteps):
        raise UsageError(
            f"{name} goes through {len(scheduler.timesteps)} timesteps for sampler.steps = {steps}, which cannot be "
            "assigned to steps: use another sampler.scheduler, such as DDIMScheduler"
        )
    taken = inspect.signature(scheduler.step).parameters if hasattr(scheduler, "step") else ()
    if list(taken)[:3] != ["model_output", "timestep", "sample"]:
        raise UsageError(
            f"{name} has a stepping scheme that the sampling loop does not support: use another sampler.scheduler, "
            "such as DDIMScheduler"
        )
