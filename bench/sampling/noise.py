"""Noise as a function of (seed, prompt id, sample, step), never of batch size, order, worker or device."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

OfStep = Callable[[int], list[torch.Generator]]
"""A batch's generators of a step, as `generators` makes them."""
MOST_KEPT = 256 << 20
"""Bytes of the noise that later branches of a tree will want again."""


def noise_seed(seed: int, prompt_id: str, sample: int, step: int, stream: str = "") -> int:
    """63 bits of blake2b over "seed|prompt_id|sample|step"; step 0: initial latents, step i + 1: after step i.

    Another `stream` is other noise for the same sample and step, over "seed|prompt_id|sample|step|stream".
    """
    # A hash and not seed + index: neighbouring seeds of a generator need not give independent streams. Python's own
    # hash() is salted in every process. A prompt id has no "|" (prompts are checked), so no two keys read the same.
    key = f"{seed}|{prompt_id}|{sample}|{step}" + (f"|{stream}" if stream else "")
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # torch takes a signed seed


def generators(
    seed: int, prompt_ids: Sequence[str], samples: Sequence[int], step: int, stream: str = ""
) -> list[torch.Generator]:
    """A CPU generator for each of the N items (prompt_ids[n], samples[n]), to be handed to `scheduler.step`."""
    # One generator an item, since one for the batch would make an item's noise depend on those before it; on the CPU,
    # since a GPU's generator gives other numbers, and other ones on other GPUs.
    made = []
    for prompt_id, sample in zip(prompt_ids, samples, strict=True):
        generator = torch.Generator()
        generator.manual_seed(noise_seed(seed, prompt_id, sample, step, stream))
        made.append(generator)
    return made


def initial_noise(
    seed: int, prompt_ids: Sequence[str], samples: Sequence[int], shape: Sequence[int], stream: str = ""
) -> Tensor:
    """Standard normal latents, float32 [N, *shape] on the CPU, before the scheduler's `init_noise_sigma`."""
    drawn = [
        torch.randn(tuple(shape), generator=generator) for generator in generators(seed, prompt_ids, samples, 0, stream)
    ]
    return torch.stack(drawn)


class StepNoise:
    """The noise that the scheduler adds in the steps of one batch, drawn once for all branches of its tree.

    On CUDA a thread draws that of the next step while this one is computed, into pinned memory. The shape is known from
    the first step on. At most `most_kept` bytes are kept for other branches. The numbers are those of
    `of_step(call + 1)`, as diffusers' `randn_tensor` draws them.
    """

    def __init__(self, of_step: OfStep, device: torch.device, most_kept: int) -> None:
        self._of_step, self._device, self._most_kept = of_step, device, most_kept
        self.draws = 0
        self._like: tuple[Sequence[int], torch.dtype] | None = None
        self._kept: dict[int, Tensor] = {}
        self._ahead: dict[int, Future[Tensor]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="noise") if device.type == "cuda" else None

    def close(self) -> None:
        """End the thread."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def of_call(self, call: int, more: bool) -> StepGenerators:
        """What `scheduler.step` of this call is given as its generator; `more`: another call follows."""
        known = call + 1 in self._kept or call + 1 in self._ahead
        if self._pool is not None and self._like is not None and more and not known:
            self._ahead[call + 1] = self._pool.submit(self._drawn, call + 1, *self._like)
        return StepGenerators(self, call, self._of_step(call + 1))

    def take(self, call: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The noise after a call, [N, ...] on the device."""
        like = (tuple(shape), dtype)
        known = self._kept.get(call)
        if known is not None and (tuple(known.shape), known.dtype) == like:
            return known
        waiting = self._ahead.pop(call, None)
        noise = waiting.result() if waiting is not None and like == self._like else self._drawn(call, *like)
        self._like = like
        noise = noise.to(self._device, non_blocking=True)
        if sum(one.nbytes for one in self._kept.values()) + noise.nbytes <= self._most_kept:
            self._kept[call] = noise
        return noise

    def forget_before(self, call: int) -> None:
        """Let go what no branch will want again."""
        for one in [one for one in self._kept if one < call]:
            del self._kept[one]

    def _drawn(self, call: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        self.draws += 1
        rows = [torch.randn((1, *shape[1:]), generator=one, dtype=dtype) for one in self._of_step(call + 1)]
        noise = torch.cat(rows)
        return noise.pin_memory() if self._device.type == "cuda" else noise


class StepGenerators(list[torch.Generator]):
    """The generators of a call as diffusers takes them, who know where the first draw is made already."""

    def __init__(self, noise: StepNoise, call: int, made: Sequence[torch.Generator]) -> None:
        super().__init__(made)
        self._noise, self._call = noise, call
        self._first: tuple[Sequence[int], torch.dtype] | None = None
        self._spent = False

    def draw(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
        """The first draw of the call; None for a later one, for which the generators stand behind the first."""
        if self._first is None:
            self._first = shape, dtype
            return self._noise.take(self._call, shape, dtype)
        if not self._spent:
            self._spent = True
            for one in self:
                torch.randn((1, *self._first[0][1:]), generator=one, dtype=self._first[1])
        return None


def know_step_noise(scheduler: Any) -> None:
    """Have the module of a scheduler ask `StepGenerators` for noise; for all other generators nothing changes there.

    diffusers' schedulers take no noise, only generators, which it draws from on the CPU and waits for the copy.
    """
    for module in {inspect.getmodule(kind) for kind in type(scheduler).__mro__}:
        plain = getattr(module, "randn_tensor", None)
        if plain is not None and not hasattr(plain, "knows_step_noise"):
            module.randn_tensor = _asking(plain)  # type: ignore[union-attr]


def _asking(plain: Any) -> Any:
    @functools.wraps(plain)
    def randn_tensor(shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **more: Any) -> Any:
        if isinstance(generator, StepGenerators):
            drawn = generator.draw(tuple(shape), dtype or torch.get_default_dtype())
            if drawn is not None:
                return drawn
        return plain(shape, generator=generator, device=device, dtype=dtype, **more)

    randn_tensor.knows_step_noise = True  # type: ignore[attr-defined]
    return randn_tensor
