"""Runs a tree of steps for one batch of samples. The arithmetic is that of diffusers' own pipelines."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.models.base import Conditioning, DiffusionModel
from bench.models.parameterisation import mix_at
from bench.models.schedulers import calls_per_step, take_step
from bench.runtime.devices import sent
from bench.sampling.coupling import coupled
from bench.sampling.guiding import State, guided
from bench.sampling.noise import MOST_KEPT, StepNoise, generators, initial_noise, know_step_noise
from bench.sampling.tree import Action, Segment, cost


@dataclass(frozen=True, slots=True)
class Norms:
    """Of the steps that evaluate both networks: their indices, and |tuned| / |base| of each sample, float32 [S, N].

    The values stay on the model's device: nothing waits for them before they are asked for.
    """

    steps: tuple[int, ...]
    ratios: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """N samples that go through the network together: item n is (prompt_ids[n], samples[n]).

    `stream` is which of several streams of noise they take ("" is the one of every method), `noise` an initial noise
    of their own, float32 [N, ...] on the CPU. `norms`, where it is given, is filled by run name with how long the tuned
    predictions are beside the base's.
    """

    seed: int
    prompt_ids: tuple[str, ...]
    samples: tuple[int, ...]
    cond: Conditioning
    stream: str = ""
    noise: Tensor | None = None
    norms: dict[str, Norms] | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """What all segments of one batch's tree share. `times`: the scheduler's timesteps on the model's device."""

    model: DiffusionModel
    batch: Batch
    times: Tensor
    noise: StepNoise
    executed: Counter[str]


def run_tree(
    model: DiffusionModel, tree: Segment, batch: Batch, executed: Counter[str] | None = None
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield (run names, final latents [N, ...]) for each leaf; a stateful scheduler is forked with its trajectory.

    `executed` is added to as networks are evaluated: single-sample forwards, charged to the first run that shares them.
    """
    scheduler = model.new_scheduler()
    # Inference tensors from the first on: a compiled network would be compiled once more for others.
    with torch.inference_mode():
        # Drawn in float32 and then cast: the same picture begins from the same noise in every precision.
        noise = batch.noise
        if noise is None:
            noise = initial_noise(batch.seed, batch.prompt_ids, batch.samples, model.latents_shape, batch.stream)
        # Flow matching schedulers start from plain noise and take latents as they are.
        dtype = getattr(model, "latents_dtype", None) or model.dtype
        latents = sent(noise, model.device).to(dtype) * getattr(scheduler, "init_noise_sigma", 1.0)
    yield from run_from(model, tree, batch, latents, scheduler, Counter() if executed is None else executed)


def run_from(
    model: DiffusionModel, tree: Segment, batch: Batch, latents: Tensor, scheduler: Any, executed: Counter[str]
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """`run_tree` from latents [N, ...] that are given, with a scheduler of the model whose state is new."""
    know_step_noise(scheduler)
    of_step = functools.partial(generators, batch.seed, batch.prompt_ids, batch.samples, stream=batch.stream)
    noise = StepNoise(of_step, model.device, MOST_KEPT if tree.children else 0)
    with torch.inference_mode():
        way = _Way(model, batch, sent(scheduler.timesteps, model.device), noise, executed)
    try:
        yield from _run(way, tree, latents, Memory(scheduler, State()))
    finally:
        noise.close()


@dataclass(slots=True)
class Memory:
    """What a trajectory remembers from step to step: its scheduler, the state of its guiders, and ratios of norms."""

    scheduler: Any
    guiders: State
    ratios: dict[int, Tensor] = field(default_factory=dict)

    def copy(self) -> Memory:
        """For another branch."""
        return Memory(copy.deepcopy(self.scheduler), self.guiders.copy(), dict(self.ratios))


@torch.inference_mode()
def _advance(way: _Way, segment: Segment, latents: Tensor, memory: Memory) -> Tensor:
    """Run a segment's own steps; `memory` keeps what they leave."""
    scheduler = memory.scheduler
    takes_noise = "generator" in inspect.signature(scheduler.step).parameters
    for index, (first, last) in _evaluations(scheduler, segment):
        action = segment.actions[index - segment.start]
        for call in range(first, last):
            # The network takes the time on its device, the scheduler on the CPU: neither waits for the other's.
            seen = scaled(scheduler, latents, scheduler.timesteps[call])
            sides = _predict(way, action, seen, call, memory.guiders)
            if way.batch.norms is not None and len(sides) == 2 and call == first:
                memory.ratios[index] = norm_ratio(*sides)
            prediction = _sum(action, sides)
            if action[0].coupling is not None:
                mix = mix_at(scheduler, call)
                prediction = coupled(prediction, seen, mix, action[0].coupling, way.batch.prompt_ids)
            forwards = cost(action, is_guided(way.model, way.times[call]))
            way.executed[segment.runs[0]] += forwards * len(way.batch.samples)
            extra = {}
            if takes_noise:
                extra["generator"] = way.noise.of_call(call, more=call + 1 < len(way.times))
            latents = take_step(scheduler, prediction, call, latents, extra)
    return latents


def _run(
    way: _Way, segment: Segment, latents: Tensor, memory: Memory, forked: bool = False
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    latents = _advance(way, segment, latents, memory)
    if not segment.children:
        if way.batch.norms is not None and memory.ratios:
            norms = Norms(tuple(memory.ratios), torch.stack(list(memory.ratios.values())))
            way.batch.norms.update(dict.fromkeys(segment.runs, norms))
        yield segment.runs, latents
    elif not forked:  # the trunk's noise is wanted by nobody any more
        way.noise.forget_before(sum(calls_per_step(memory.scheduler)[: segment.stop]))
    for nth, child in enumerate(segment.children):
        # A multistep scheduler remembers predictions and where it is, so each branch needs the state of the fork; the
        # last branch may use it up. Latents are not copied: no step writes into them.
        last = nth == len(segment.children) - 1
        yield from _run(way, child, latents, memory if last else memory.copy(), True)


def scaled(scheduler: Any, latents: Tensor, t: Tensor) -> Tensor:
    """What the network takes at time t."""
    scale = getattr(scheduler, "scale_model_input", None)
    return latents if scale is None else torch.as_tensor(scale(latents, t))


def norm_ratio(base: Tensor, tuned: Tensor) -> Tensor:
    """|tuned| / |base| of each sample, float32 [N], of predictions [N, ...] (NormGuard, arXiv 2606.27771)."""
    lengths = [one.flatten(1).float().norm(dim=1) for one in (base, tuned)]
    return torch.as_tensor(lengths[1] / lengths[0])


def _predict(way: _Way, action: Action, latents: Tensor, call: int, state: State) -> list[Tensor]:
    """Each side's prediction under its rule; `call` is the index of the timestep, `state` the guiders'."""
    batch = way.batch

    def noise_of(shape: Sequence[int]) -> Tensor:
        drawn = generators(batch.seed, batch.prompt_ids, batch.samples, call + 1, f"{batch.stream}prompt")
        noise = torch.stack([torch.randn(tuple(shape), generator=generator) for generator in drawn])
        return sent(noise, latents.device)

    memory = (state, noise_of)
    return [guided(way.model, side, latents, way.times[call], batch.cond, memory) for side in action]


def _sum(action: Action, predictions: Sequence[Tensor]) -> Tensor:
    if len(action) == 1:
        return predictions[0]
    parts = [side.weight * prediction for side, prediction in zip(action, predictions, strict=True)]
    # Two are added as they are: a sum along a dimension rounds otherwise in half precision.
    return torch.stack(parts).sum(dim=0) if len(parts) > 2 else parts[0] + parts[1]


def _evaluations(scheduler: Any, segment: Segment) -> Iterator[tuple[int, tuple[int, int]]]:
    """For each step of the segment the range of indices into `scheduler.timesteps` that belong to it."""
    ends = [0, *itertools.accumulate(calls_per_step(scheduler))]
    for index in range(segment.start, segment.stop):
        yield index, (ends[index], ends[index + 1])


def evaluations_per_step(scheduler: Any) -> tuple[int, ...]:
    """How often each denoising step evaluates its networks: as often as it has timesteps."""
    return calls_per_step(scheduler)


def unguided_per_step(model: Any, scheduler: Any) -> tuple[int, ...]:
    """At how many of each step's evaluations the model leaves guidance out, whatever the scale."""
    ends = [0, *itertools.accumulate(calls_per_step(scheduler))]
    bare = [not is_guided(model, t) for t in scheduler.timesteps]
    return tuple(sum(bare[first:last]) for first, last in itertools.pairwise(ends))


def is_guided(model: Any, t: Tensor) -> bool:
    """Whether the model applies guidance at time t; models that do not say always do."""
    asked = getattr(model, "is_guided", None)
    return asked is None or bool(asked(t))


def steps_of(scheduler: Any) -> int:
    """Number of denoising steps of a scheduler whose timesteps are set."""
    return len(calls_per_step(scheduler))


def as_batch(model: DiffusionModel, seed: int, items: Sequence[tuple[str, str, int]]) -> Batch:
    """A batch of (prompt id, prompt, sample) items, encoded."""
    cond = model.encode([prompt for _, prompt, _ in items])
    with torch.inference_mode():  # as what is filled up later: a compiled network tells the two apart
        cond = cond.take(range(len(items)))
    return Batch(seed, tuple(item[0] for item in items), tuple(item[2] for item in items), cond)
