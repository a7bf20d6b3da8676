"""What only a GPU can tell, in two parts of at most five minutes, as rows of one table; `benchmarks/gpu.sh` runs them.

    python benchmarks/gpu.py 1|2 [--out FILE] [--tiny]

Part 1 is Stable Diffusion 1.5's architecture at 512 px, part 2 SDXL's at 1024 px, FID's interval and the scorers.
Networks have random weights. `bench` and diffusers' pipeline (bfloat16, SDPA, channels-last, batches of the same size)
take turns in one process, first as they are and then compiled; images per second are those of whole batches after the
first two. `--tiny` runs every line on a processor with small networks: its figures mean nothing, its end says that the
script works. Rows are appended as they are measured, so that a part that is cut off leaves what it had.
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from generating import made_suite, make_network, make_runs, write_lora, write_pipeline
from gpu_throughput import finish, load_stock, timed

import prompts
from bench.models import compiled as compiling
from bench.models.load import load_model
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from bench.store.run_store import RunStore
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

HEAD = "| what | bench | diffusers or before | ratio |\n| --- | ---: | ---: | ---: |\n"
SECONDS = {"1": 195.0, "2": 285.0}
"""After which nothing new is begun: a part must end within five minutes, and the GPU tests follow the first one."""


@dataclass(frozen=True)
class Size:
    """A measurement: architecture, pixels, denoising steps, images in a batch, batches."""

    architecture: str
    resolution: int
    steps: int
    batch: int
    batches: int
    guidance: float


SIZES = {"1": Size("sd15", 512, 50, 16, 4, 7.5), "2": Size("sdxl", 1024, 30, 8, 3, 5.0)}
TINY = {"1": Size("tiny", 64, 2, 2, 3, 7.5), "2": Size("tiny", 64, 2, 2, 3, 5.0)}


class Table:
    """Rows on the screen and in the file; `left` says whether there is time for more."""

    def __init__(self, path: Path, seconds: float = math.inf) -> None:
        self._path, self._end = path, time.monotonic() + seconds
        if not path.exists():
            path.write_text(HEAD, encoding="utf-8")

    def add(self, what: str, ours: str, theirs: str = "", ratio: str = "") -> None:
        """Append a row."""
        line = f"| {what} | {ours} | {theirs} | {ratio} |"
        print(line, flush=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def left(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return time.monotonic() + seconds < self._end


def suite_of(size: Size, folder: Path, **more: Any) -> Suite:
    """A suite of this size with a tuned network of its own; `more` are other keys of it."""
    return made_suite(
        folder / "pipeline",
        size.architecture,
        folder / "tuned",
        limit=max(1, size.batch * size.batches // 4),
        samples=4 if size.batch * size.batches >= 4 else size.batch * size.batches,
        dtype="bfloat16",
        resolution=size.resolution,
        guidance=size.guidance,
        sampler={"steps": size.steps},
        **more,
    )


def ours(suite: Suite, size: Size, device: str, method: str = "base") -> float:
    """Images per second of `bench` in whole batches after the first two, writing included."""
    with tempfile.TemporaryDirectory() as results:
        make_runs(suite, resolve_methods([method], suite), Path(results), device=device, batch_size=size.batch)
        (path,) = (Path(results) / "runs" / suite.name).glob(f"{method}*")
        rows = sorted(RunStore(path).images(), key=lambda row: row.key)
    seconds = [row.seconds for row in rows[2 * size.batch :]] or [row.seconds for row in rows]
    return 1.0 / statistics.fmean(seconds)


def theirs(pipeline: Any, suite: Suite, size: Size, device: str) -> float:
    """Images per second of diffusers' pipeline after a warm-up of one batch."""
    text = prompts.load(suite.prompts)[0].text
    how = {"height": size.resolution, "width": size.resolution, "num_inference_steps": size.steps}

    def one() -> None:
        pipeline([text] * size.batch, guidance_scale=size.guidance, output_type="np", **how)

    one()
    return size.batch / timed(one, device)


def waits(suite: Suite, size: Size, device: str) -> str:
    """How often the host waits for the device in the steps of a batch; "-" where it has none of its own."""
    if not device.startswith("cuda"):
        return "-"
    model = load_model(Path(suite.model.weights), suite, device)
    tree = build_tree({"base": actions_of([0.0] * size.steps, ("base", size.guidance))})
    batch = as_batch(model, 7, [("p1", "a star", 0), ("p2", "a circle", 0)])
    list(run_tree(model, tree, batch))
    finish(device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            list(run_tree(model, tree, batch))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return f"{sum('synchroniz' in str(one.message) for one in seen)} in {size.steps} steps"


def generation(size: Size, folder: Path, device: str, table: Table) -> None:
    """Rows of generation: plain, compiled, compilations, waits."""
    from torch._dynamo.utils import counters

    write_pipeline(size.architecture, folder / "pipeline")
    make_network(size.architecture, seed=1).save_pretrained(folder / "tuned")
    name = f"{size.architecture} {size.resolution} px, {size.steps} steps, batches of {size.batch}"
    for compiled in (False, True):
        if compiled and not table.left(100):
            table.add(f"{name}, compiled", "not measured: no time left")
            return
        suite = suite_of(size, folder, compile=compiled)
        stock = load_stock(folder / "pipeline", device, torch.bfloat16, False)
        if compiled:
            stock.unet.compile(backend=compiling.BACKEND)
            stock.vae.decoder.compile(backend=compiling.BACKEND)
        other = theirs(stock, suite, size, device)
        del stock
        before = counters["stats"]["unique_graphs"]
        mine = ours(suite, size, device)
        how = f"{name}{', compiled' if compiled else ''}: images/s"
        table.add(how, f"{mine:.3f}", f"{other:.3f}", f"{mine / other:.3f}")
        if compiled:
            table.add(f"{name}: graphs compiled", str(counters["stats"]["unique_graphs"] - before))
        else:
            table.add(f"{name}: waits of the host", waits(suite, size, device))


def fused(size: Size, folder: Path, device: str, table: Table) -> None:
    """The row of a LoRA that runs alone: fused into the weights, and switched."""
    lora = {"refl": {"weights": str(write_lora(size.architecture, folder / "lora.safetensors"))}}
    rates = []
    for fuse in (True, False):
        if not table.left(40):
            table.add(f"{size.architecture}, a LoRA fused and switched", "not measured: no time left")
            return
        rates.append(ours(suite_of(size, folder, methods=lora, fuse_lora=fuse), size, device, "refl"))
    what = f"{size.architecture}, a LoRA fused, and switched: images/s"
    table.add(what, f"{rates[0]:.3f}", f"{rates[1]:.3f}", f"{rates[0] / rates[1]:.3f}")


def scorers(device: str, table: Table, images: int) -> None:
    """Rows of scoring: images per second of the embedded suite's scorers in float32, TF32 and bfloat16."""
    import numpy as np
    from PIL import Image

    from bench.scoring.metric_weights import load_metric
    from bench.shapes.world import random_scene, render
    from bench.suite.load import load_suite

    rng, suite = np.random.default_rng(0), load_suite("shapes")
    pictures = [Image.fromarray(render(random_scene(rng))) for _ in range(images)]
    for name in ("pickscore", "hpsv2.1", "image_reward"):
        rates = []
        for change in ({}, {"tf32": True}, {"dtype": "bfloat16"}):
            metric = load_metric(name, suite.metrics[name].model_copy(update=change), device, suite.label)
            inputs = [metric.prepare(picture) for picture in pictures]
            metric.embed_inputs(inputs)
            rates.append(images / timed(functools.partial(metric.embed_inputs, inputs), device))
        plain, tf32, half = rates
        table.add(
            f"{name} (shapes): images/s in bfloat16, and float32", f"{half:.0f}", f"{plain:.0f}", f"{half / plain:.2f}"
        )
        table.add(
            f"{name} (shapes): images/s with TF32, and without", f"{tf32:.0f}", f"{plain:.0f}", f"{tf32 / plain:.2f}"
        )


def frechet(device: str, table: Table, width: int) -> None:
    """The row of FID's interval: on the device, and by whole distances on the processor."""
    import numpy as np

    from bench.scoring.blocks import left_out_in_turn, sum_of
    from metrics.set.frechet import frechet_distance
    from metrics.set.frechet_interval import Reference, leave_one_out
    from metrics.set.moments import Moments

    rng = np.random.default_rng(0)
    scales = np.exp(-7.0 * np.arange(width) / width)
    against = Moments.of(rng.standard_normal((2 * width, width)) * scales)
    blocks = [Moments.of(rng.standard_normal((width // 5, width)) * scales * 1.1) for _ in range(10)]
    place = torch.device(device)
    leave_one_out(blocks, Reference.of(against, place))  # warm-up: libraries
    began = time.perf_counter()
    value, _ = leave_one_out(blocks, Reference.of(against, place))
    mine = time.perf_counter() - began
    if not table.left(90):
        table.add(f"FID's interval, {width} features: seconds", f"{mine:.2f}", "not measured: no time left")
        return
    began = time.perf_counter()
    wanted = frechet_distance(sum_of(blocks), against)
    for part in left_out_in_turn(blocks):
        frechet_distance(part, against)
    other = time.perf_counter() - began
    table.add(f"FID's interval, {width} features: seconds", f"{mine:.2f}", f"{other:.2f}", f"{mine / other:.3f}")
    table.add("FID's interval: share that its value is off by", f"{abs(value - wanted) / wanted:.1e}")


def measure(which: str, tiny: bool, device: str, table: Table) -> None:
    """The measurements of a part, one after another."""
    with tempfile.TemporaryDirectory() as name:
        size = (TINY if tiny else SIZES)[which]
        generation(size, Path(name), device, table)
        if which == "1":
            fused(size, Path(name), device, table)
    if which == "2":
        scorers(device, table, 8 if tiny else 512)
        frechet(device, table, 64 if tiny else 2048)


def main() -> None:
    """Measure a part, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["1", "2"])
    parser.add_argument("--out", type=Path, default=Path("gpu_table.md"))
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        raise SystemExit(
            "skipped: this machine has no CUDA device, and these figures are of one (--tiny tries the script)"
        )
    device = "cpu" if given.tiny else "cuda"
    if given.tiny:
        compiling.BACKEND = "eager"  # all but the compiler itself, which takes minutes on a processor
    table = Table(given.out) if given.tiny else Table(given.out, SECONDS[given.part])
    where = "a processor, --tiny: no figures" if given.tiny else torch.cuda.get_device_name()
    table.add(f"part {given.part} on {where}, torch {torch.__version__}", "")
    measure(given.part, given.tiny, device, table)


if __name__ == "__main__":
    main()
