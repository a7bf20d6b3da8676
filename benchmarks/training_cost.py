"""Time and memory of an update: all weights or a LoRA, with and without gradient checkpointing.

    python benchmarks/training_cost.py [--updates 5] [--batch 16] [--device cpu]

Each setting runs in a process of its own (peak memory does not go down again): ReFL and ImageReFL on the embedded
suite's model on the CPU. With --device cuda the network of Stable Diffusion 1.5 with random weights is taken instead,
at 512 x 512 in bfloat16. Memory is the growth of the process's peak from before the first update (CUDA: the peak of
torch's allocator). Seconds are the median of the updates after the first; on the CPU of processor time with one thread,
which other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "all weights, checkpointing": {"checkpointing": True},
    "LoRA rank 8": {"lora_rank": 8},
    "LoRA rank 8, checkpointing": {"lora_rank": 8, "checkpointing": True},
}
MIB = 2**20


def measure(objective: str, changes: dict[str, Any], updates: int, batch: int, device: str) -> dict[str, float]:
    """Seconds an update, MiB, and the number of trainable values of one setting, in this process."""
    import torch

    from bench.runtime.devices import peak_memory
    from bench.suite.load import load_suite
    from bench.training.data import data_for
    from bench.training.loop import prepare, update
    from bench.training.options import NEED_PICTURES, TrainOptions
    from bench.training.recipes import recipe_for

    options = TrainOptions(objective, device=device, batch_size=batch)
    suite = load_suite("shapes")
    recipe = replace(recipe_for(options, suite.label), **changes)
    if device.startswith("cuda"):
        suite, recipe = large(suite), replace(recipe, precision="bfloat16")
    torch.set_num_threads(1)
    data = data_for(suite, None, objective in NEED_PICTURES)
    training = prepare(suite, recipe, {"pickscore": 1.0}, options, data)
    if device.startswith("cuda"):
        training.trainer.data = Enlarged()
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    before, seconds = peak_memory(), []
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    for _ in range(updates + 1):
        began = clock()
        update(training)
        seconds.append(clock() - began)
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak_memory() - before
    return {"seconds": statistics.median(seconds[1:]), "mib": peak / MIB, "values": training.trainable.count}


class Enlarged:
    """The embedded world's pictures at 512 x 512."""

    def listing(self) -> str:
        """What there is to draw: the small pictures', each 8 x 8 times."""
        from bench.training.data import ShapesData

        return f"{ShapesData().listing()}-8x8"

    def captions(self, count: int, rng: Any, number: int = 1) -> list[str]:
        """Its captions."""
        from bench.training.data import ShapesData

        return ShapesData().captions(count, rng)

    def pictures(self, count: int, rng: Any, number: int = 1) -> tuple[Any, list[str]]:
        """Its pictures, every pixel 8 x 8 times."""
        from bench.training.data import ShapesData

        images, captions = ShapesData().pictures(count, rng)
        return images.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3), captions


def large(suite: Any) -> Any:
    """The suite on a pipeline folder with Stable Diffusion 1.5's UNet and VAE, weights random."""
    import tempfile

    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from bench.models.weights import resolve

    folder = Path(tempfile.mkdtemp())
    torch.manual_seed(0)
    source = resolve("shapes:pipeline")
    parts = {
        "text_encoder": CLIPTextModel.from_pretrained(source / "text_encoder"),
        "tokenizer": CLIPTokenizer.from_pretrained(source / "tokenizer"),
        "scheduler": DDPMScheduler.from_pretrained(source / "scheduler"),
    }
    width = parts["text_encoder"].config.hidden_size
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=width, attention_head_dim=8)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
    )
    StableDiffusionPipeline(
        unet=unet, vae=vae, safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts
    ).save_pretrained(folder)
    return suite.model_copy(
        update={"model": suite.model.model_copy(update={"weights": str(folder)}), "resolution": 512}
    )


def main() -> None:
    """A line a setting, or one setting as JSON when this program calls itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        objective, _, name = given.one.partition(":")
        found = measure(objective, SETTINGS[name], given.updates, given.batch, given.device)
        print(json.dumps(found))
        return
    if given.device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            print("skipped: no CUDA device on this machine")
            return
    print(f"batch {given.batch}, {given.device}")
    for objective in ("refl", "imagerefl"):
        for name in SETTINGS:
            numbers = ["--updates", str(given.updates), "--batch", str(given.batch), "--device", given.device]
            command = [sys.executable, __file__, "--one", f"{objective}:{name}", *numbers]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.strip().splitlines()[-1])
            print(
                f"{objective:9} {name:28} {row['seconds']:6.2f} s an update  {row['mib']:7.0f} MiB  "
                f"{row['values']:>11,.0f} values learn",
                flush=True,
            )


if __name__ == "__main__":
    main()
