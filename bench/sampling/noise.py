"""Noise as a function of (seed, prompt id, sample, step), never of batch size, order, worker or device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


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
