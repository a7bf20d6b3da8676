"""What the suite costs beside a bare loop over the same diffusers parts, on the embedded suite's model.

    python benchmarks/generation_overhead.py [--prompts N] [--rounds R] [--batch B] [--device D]

The bare loop denoises and decodes and does nothing else: no seeds by sample, no picture written, no row recorded. The
suite's side is what `bench run` does to generate, pictures on the disk included. Both take turns in this process, first
the one and then the other, and the median ratio of images per second is printed (aim: at least 0.97). Where other
processes want the same cores, wall time says little; images per second of processor time are printed beside it, with
the threads that decode and write counted in.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import diffusers
import torch
from generating import make_runs, total

import prompts
from bench.generation.batches import Maker
from bench.models.loading import quiet
from bench.models.weights import resolve
from bench.runtime.devices import prepare_torch
from bench.suite.load import load_suite
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite


def load_bare(suite: Suite, device: str) -> Any:
    """diffusers' pipeline at its best settings for this: frozen, in the faster memory layout."""
    with quiet():
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
            str(resolve(suite.model.weights)), safety_checker=None
        ).to(device)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    for part in (pipeline.unet, pipeline.vae):
        part.to(memory_format=torch.channels_last)
    return pipeline


@torch.inference_mode()
def bare_loop(pipeline: Any, suite: Suite, texts: list[str], batch: int, device: str) -> tuple[float, float]:
    """Images per second of the plain loop, by the clock and by processor time."""
    known = {text: pipeline.encode_prompt(text, device, 1, True) for text in dict.fromkeys(texts)}
    shape = (
        pipeline.unet.config.in_channels,
        suite.resolution // pipeline.vae_scale_factor,
        suite.resolution // pipeline.vae_scale_factor,
    )
    began, processor = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), batch):
        pairs = [known[text] for text in texts[start : start + batch]]
        states = torch.cat([pair[1] for pair in pairs] + [pair[0] for pair in pairs])
        scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
        scheduler.set_timesteps(suite.sampler.steps, device=device)
        latents = torch.randn((len(pairs), *shape)).to(device) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            both = torch.cat([latents, latents])
            output = pipeline.unet(both, t, encoder_hidden_states=states, return_dict=False)[0]
            without, with_text = output.chunk(2)
            guided = without + suite.guidance * (with_text - without)
            latents = scheduler.step(guided, t, latents, return_dict=False)[0]
        pixels = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
        ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    return len(texts) / (time.perf_counter() - began), len(texts) / (time.process_time() - processor)


def main() -> None:
    """Print a line a round, then the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device = prepare_torch(given.device)
    suite = load_suite("shapes").override(limit=given.prompts)
    texts = [one.text for one in prompts.load(suite.prompts)[: given.prompts] for _ in range(suite.samples)]
    pipeline, methods = load_bare(suite, device), resolve_methods(["base"], suite)

    def ours() -> tuple[float, float]:
        make, spent = Maker.make, []

        def timed(self: Maker, work: Any) -> None:
            began = time.process_time()
            make(self, work)
            spent.append(time.process_time() - began)

        with tempfile.TemporaryDirectory() as folder, mock.patch.object(Maker, "make", timed):
            options = {"device": device, "batch_size": given.batch}
            seconds, _, images = total(make_runs(suite, methods, Path(folder), **options))
        return images / seconds, images / spent[0]

    def bare() -> tuple[float, float]:
        return bare_loop(pipeline, suite, texts, given.batch, device)

    bare(), ours()  # warm up
    ratios: list[tuple[float, float]] = []
    for number in range(given.rounds):
        first, second = (bare, ours) if number % 2 else (ours, bare)
        speeds = {first: first(), second: second()}
        ratios.append((speeds[ours][0] / speeds[bare][0], speeds[ours][1] / speeds[bare][1]))
        wall = f"bench {speeds[ours][0]:.2f} images/s, bare loop {speeds[bare][0]:.2f}, ratio {ratios[-1][0]:.3f}"
        print(f"round {number + 1}: {wall}; ratio by processor time {ratios[-1][1]:.3f}")
    wall, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median ratio over {given.rounds} rounds: {wall:.3f} (by processor time {processor:.3f})")


if __name__ == "__main__":
    main()
