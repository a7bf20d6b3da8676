"""Images per second on a GPU against the stock diffusers pipeline at its best, with SD1.5's and SDXL's architecture.

    python benchmarks/gpu_throughput.py [--architecture sd15|sdxl] [--resolution R] [--batch B] [--steps T] [--compile]

The networks are built from configuration with seeded random weights: speed does not depend on their values. Printed are
the images per second of both sides (bf16, SDPA, channels-last; the pipeline in one process with us, taking turns), the
fraction of the card's measured matrix rate that the network reaches, and what the paper's sweep costs in one call
against a call for each switch step. Without a GPU it says so and measures nothing (`--device cpu --architecture small`
only tries the script).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from generating import made_suite, make_network, make_runs, total, write_pipeline

import prompts
from bench.errors import MissingError
from bench.models.loading import quiet
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

SWEEP = (0, 20, 25, 30, 35, 38)


def matrix_rate(device: str, dtype: torch.dtype, side: int) -> float:
    """Floating point operations per second of square matrix products: the best of five."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return max(2 * side**3 / timed(lambda: a @ b, device) for _ in range(5))


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds of some work on the device."""
    finish(device)
    began = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - began


def finish(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def load_stock(folder: Path, device: str, dtype: torch.dtype, compiled: bool) -> Any:
    """diffusers' pipeline with what its documentation advises for speed."""
    import diffusers

    with quiet():
        pipeline = diffusers.DiffusionPipeline.from_pretrained(str(folder), torch_dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae):
        part.requires_grad_(False).to(memory_format=torch.channels_last)
    if compiled:
        pipeline.unet.compile()
    return pipeline


def operations(network: Any, suite: Suite, device: str, dtype: torch.dtype) -> int:
    """Floating point operations of one image's network evaluation, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    side = suite.resolution // 8
    size, config = torch.randn(1, 4, side, side, device=device, dtype=dtype), network.config
    states = torch.randn(1, 77, config.cross_attention_dim, device=device, dtype=dtype)
    extra = {}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        extra = {
            "text_embeds": torch.randn(1, pooled, device=device, dtype=dtype),
            "time_ids": torch.ones(1, 6, device=device, dtype=dtype),
        }
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(size, torch.tensor(1, device=device), encoder_hidden_states=states, added_cond_kwargs=extra)
    return int(counter.get_total_flops())


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Print all figures of one architecture."""
    make_network(given.architecture, seed=1).save_pretrained(folder / "tuned")
    suite = made_suite(
        write_pipeline(given.architecture, folder / "pipeline"),
        given.architecture,
        folder / "tuned",
        limit=max(1, given.images // 4),
        samples=4,
        dtype="bfloat16",
        resolution=given.resolution,
        guidance=7.5 if given.architecture == "sd15" else 5.0,
        sampler={"steps": given.steps},
        compile=given.compile,
    )
    options = {"device": given.device, "batch_size": given.batch}
    throughput(given, suite, folder, options)
    sweep(given, suite, options)


def throughput(given: argparse.Namespace, suite: Suite, folder: Path, options: dict[str, Any]) -> None:
    """Print images per second of both sides, and the fraction of the matrix rate."""
    dtype = torch.bfloat16
    texts = [one.text for one in prompts.load(suite.prompts)[: suite.limit] for _ in range(suite.samples)]
    stock = load_stock(folder / "pipeline", given.device, dtype, given.compile)
    base = resolve_methods(["base"], suite)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as results:
            seconds, _, images = total(make_runs(suite, base, Path(results), **options))
        return images / seconds

    def theirs() -> float:
        def run() -> None:
            for start in range(0, len(texts), given.batch):
                stock(
                    texts[start : start + given.batch],
                    num_inference_steps=given.steps,
                    guidance_scale=suite.guidance,
                    height=suite.resolution,
                    width=suite.resolution,
                )

        return len(texts) / timed(run, given.device)

    theirs(), ours()  # warm up
    pairs = [(ours(), theirs()) for _ in range(given.rounds)]
    speed = statistics.median(pair[0] for pair in pairs)
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(f"{given.architecture} {given.resolution} px, batches of {given.batch}, {given.steps} steps, bf16:")
    print(f"  bench {speed:.3f} images/s, stock pipeline {speed / ratio:.3f}, median ratio {ratio:.3f}")
    work = operations(stock.unet, suite, given.device, dtype) * 2 * given.steps * speed / 1e12
    rate = matrix_rate(given.device, dtype, 8192 if given.device.startswith("cuda") else 512) / 1e12
    print(f"  network {work:.1f} of {rate:.1f} TFLOP/s of matrix products ({work / rate:.3f})")


def sweep(given: argparse.Namespace, suite: Suite, options: dict[str, Any]) -> None:
    """Print the time of the paper's sweep in one call against a call for each switch step."""
    switch_steps = ",".join(str(k * given.steps // 40) for k in SWEEP)
    methods = resolve_methods(["combined"], suite, {"switch_step": switch_steps})
    with tempfile.TemporaryDirectory() as name:
        together = total(make_runs(suite, methods, Path(name) / "together", **options))
        apart = total(
            [run for method in methods for run in make_runs(suite, [method], Path(name) / "apart", **options)]
        )
    ratio = together[0] / apart[0]
    print(f"  sweep of {len(methods)}: {together[0]:.1f} s together, {apart[0]:.1f} s apart ({ratio:.3f})")
    print(f"  network evaluations {together[1]} of {apart[1]} ({together[1] / apart[1]:.3f})")


def main() -> None:
    """Measure, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="sd15", choices=["sd15", "sdxl", "small"])
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("skipped: this machine has no CUDA device, and these figures are of one.")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(given, Path(folder))
    except MissingError as error:
        raise SystemExit(f"not measured: {error}") from None


if __name__ == "__main__":
    main()
