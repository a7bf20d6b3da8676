"""How long `bench report` takes and how much memory it needs, against a small report.

    python benchmarks/report_time.py                       # 20 methods x 400 prompts x 5 images x 8 metrics
    python benchmarks/report_time.py --prompts 3200 --pixels 64

Runs with invented scores and noisy pictures are made in a temporary folder (not timed). Each report is then written by
`bench report` in a process of its own: its wall time with imports, and its peak memory. Budget: 60 s and 2 GiB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from bench.store.atomic import png_bytes
from bench.store.records import ImageRow, Manifest, ScoreRow
from bench.store.run_store import RunStore

METRICS = {
    "image_reward": ("image", "higher", 0.5), "hpsv2.1": ("image", "higher", 0.02),
    "pickscore": ("image", "higher", 1.2), "clip_score": ("image", "higher", 2.0),
    "lpips": ("group", "higher", 0.05), "dreamsim": ("group", "higher", 0.05),
    "vendi": ("group", "higher", 0.4), "fid": ("set", "lower", 2.0),
}  # fmt: skip
BUDGET_SECONDS, BUDGET_BYTES = 60.0, 2 * 2**30
_BLOCKS = 10
_PICTURES = 64


def draw_pictures(results: Path, pixels: int) -> None:
    """PNG pictures with some noise, as photographs have; the runs' images are links to them, each decoded by itself."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(40, 200, pixels)
    results.mkdir(parents=True)
    for i in range(_PICTURES):
        picture = ramp[None, :, None] * rng.uniform(0.3, 1, 3) + rng.normal(scale=6, size=(pixels, pixels, 1))
        pixel_bytes = np.clip(picture, 0, 255).astype(np.uint8).transpose(2, 0, 1)
        (results / f"picture-{i}.png").write_bytes(png_bytes(pixel_bytes))


def make_run(job: tuple[Path, int, int, int]) -> None:
    """One finished run: scores per image, prompt and set, and its images."""
    results, method, prompts, samples = job
    name = "base" if method == 0 else f"method-{method:02d}"
    rng = np.random.default_rng([7, method])
    store = RunStore.create(results, "timing", name, f"{method:08x}")
    shared = np.random.default_rng(1).normal(size=(prompts, samples))
    for index, (metric, (kind, direction, spread)) in enumerate(METRICS.items()):
        card = {"name": metric, "title": metric, "kind": kind, "direction": direction, "version": "1", "digest": metric}
        values = 10 + index + spread * (0.1 * method + shared + 0.5 * rng.normal(size=shared.shape))
        rows = [ScoreRow(f"p{p:05d}", s, float(values[p, s])) for p in range(prompts) for s in range(samples)]
        if kind == "group":
            rows = [ScoreRow(f"p{p:05d}", None, float(values[p].mean())) for p in range(prompts)]
        if kind == "set":
            blocks = [ScoreRow(None, b, 20 + 0.1 * method + 0.1 * rng.normal()) for b in range(_BLOCKS)]
            rows = [ScoreRow(None, None, 20 + 0.1 * method), *blocks]
        store.append_scores(metric, rows, card)
    listed: list[dict[str, Any]] = [
        {"id": f"p{p:05d}", "text": f"prompt {p}, a photograph of something", "tags": []} for p in range(prompts)
    ]
    images = []
    for p in range(prompts):
        store.image_path(listed[p]["id"], 0).parent.mkdir(parents=True, exist_ok=True)
        for s in range(samples):
            path = store.image_path(listed[p]["id"], s)
            os.link(results / f"picture-{rng.integers(_PICTURES)}.png", path)
            relative = path.relative_to(store.path).as_posix()
            images.append(ImageRow(listed[p]["id"], listed[p]["text"], s, 1, relative, "", 0.1))
    store.append_images(images)
    store.write_manifest(
        Manifest(
            status="complete", suite="timing", method=name, run=store.name, identity={"seed": 1}, samples=samples,
            resolved_suite={"title": "Timing"}, resolved_method={"name": name}, prompts=listed,
            trained_on=[] if method == 0 else ["pickscore"], counts={"images": prompts * samples},
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What one `bench report` took: seconds by the clock and of the processor, peak memory and the page in bytes."""

    wall: float
    cpu: float
    memory: int
    page: int


def timed(results: Path) -> Measured:
    """Write the report of a results folder in a process of its own."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "bench", "report", "--results", str(results)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"bench report failed with status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    page = (results / "report" / "index.html").stat().st_size
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, page)


def measure(label: str, size: tuple[int, int, int, int], keep: Path | None) -> Measured:
    """Make runs of methods x prompts x samples images of so many pixels, write their report and print what it took."""
    methods, prompts, samples, pixels = size
    with tempfile.TemporaryDirectory() as folder:
        results = (keep or Path(folder)) / "results"
        draw_pictures(results, pixels)
        with Pool() as pool:
            pool.map(make_run, [(results, m, prompts, samples) for m in range(methods)], chunksize=1)
        found = timed(results)
    print(
        f"{label}: {methods} methods x {prompts} prompts x {samples} images of {pixels} px x {len(METRICS)} metrics: "
        f"{found.wall:.1f} s ({found.cpu:.1f} s of processor time), {found.memory / 2**20:.0f} MiB, "
        f"index.html {found.page / 1e6:.1f} MB",
        flush=True,
    )
    return found


def main() -> int:
    """Print one line per report; exit code 1 when the large one is over budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--keep", type=Path, help="make the runs and the report of the large one here, and keep them")
    given = parser.parse_args()
    small = measure("small", (4, 32, 5, 64), None)
    large = measure("large", (given.methods, given.prompts, given.samples, given.pixels), given.keep)
    print(f"large / small: {large.wall / small.wall:.1f} x the time, {large.memory / small.memory:.1f} x the memory")
    within = large.wall <= BUDGET_SECONDS and large.memory <= BUDGET_BYTES
    print(f"budget of {BUDGET_SECONDS:.0f} s and {BUDGET_BYTES / 2**30:.0f} GiB: {'kept' if within else 'broken'}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
