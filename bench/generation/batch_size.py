"""How many images go through the network together when nobody said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel

logger = logging.getLogger(__name__)

LARGEST = 32
"""More at a time is not faster on any device that was tried, and a kill loses more."""
SHARE = 0.8
"""Of the free memory; the rest is for fragments and for what forks of the tree keep."""


def starting_size(model: DiffusionModel, resolution: int, prompts: Sequence[str], guidance: float) -> int:
    """A batch size that fits the device: on CUDA by measuring one step of one and two images, else by resolution.

    A processor gains nothing from batches of large images, so there they are as large as 32 images of 64 x 64 pixels.
    """
    if model.device.type != "cuda":
        return max(1, min(LARGEST, LARGEST * 64 * 64 // resolution**2))
    import torch

    for network in model.networks:  # all of them come to the device, and libraries take their workspaces
        _step(model, prompts[:1], guidance, network)
    free, _ = torch.cuda.mem_get_info(model.device)
    idle = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    size = largest_batch(lambda count: _peak(model, [prompts[0]] * count, guidance), free + idle)
    logger.info(f"batches of {size} images (found from one step of one and two)")
    return size


def largest_batch(peak_of: Callable[[int], int], free: int) -> int:
    """The largest batch whose peak memory fits; `peak_of(n)` is what a step of n images adds at its peak, in bytes."""
    one, two = peak_of(1), peak_of(2)
    each = max(two - one, one // 4, 1)  # memory that both share must not make the second look free
    fixed = max(one - each, 0)
    return max(1, min(LARGEST, int((free * SHARE - fixed) // each)))


def _peak(model: DiffusionModel, prompts: Sequence[str], guidance: float) -> int:
    """Bytes that a step and the decoding of these prompts take beyond what is allocated now."""
    import torch

    from bench.models.base import BASE

    before = torch.cuda.memory_allocated(model.device)
    torch.cuda.reset_peak_memory_stats(model.device)
    _step(model, prompts, guidance, BASE)
    return int(torch.cuda.max_memory_allocated(model.device)) - before


def _step(model: DiffusionModel, prompts: Sequence[str], guidance: float, network: str) -> None:
    """One evaluation of a network for these prompts, and the decoding of what comes of it."""
    import torch

    from bench.sampling.loop import scaled

    with torch.inference_mode():
        scheduler = model.new_scheduler()
        latents = torch.zeros((len(prompts), *model.latents_shape), device=model.device, dtype=model.dtype)
        t = scheduler.timesteps[0]
        model.predict(network, scaled(scheduler, latents, t), t, model.encode(list(prompts)), guidance)
        model.decode(latents)
