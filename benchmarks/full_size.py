"""Stable Diffusion 1.5 at its full size on a processor: memory, and the seconds before the first step.

    python benchmarks/full_size.py [--resolution 512] [--steps 4] [--samples 2] [--dtype float32]

The published configuration and layout with random weights (only the tokenizer is a small one), in one call: base, refl
(a second UNet), a LoRA, combined. About ten minutes of one core, 15 GB of memory of which the half is files that the
system keeps at hand, and 7 GB of disk; it is not part of the continuous integration.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from generating import make_network, make_runs, total, write_lora, write_pipeline

from bench.runtime.devices import peak_memory
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

METHODS = ["base", "refl", "lora", "combined"]


def suite_of(folder: Path, given: argparse.Namespace) -> Suite:
    """One prompt of the embedded set, Stable Diffusion 1.5's settings."""
    tuned = str(folder / "tuned")
    return Suite.model_validate(
        {
            "name": "full-size",
            "model": {"weights": str(folder / "pipeline")},
            "prompts": "shapes",
            "limit": 1,
            "samples": given.samples,
            "resolution": given.resolution,
            "dtype": given.dtype,
            "guidance": 7.5,
            "sampler": {"steps": given.steps},
            "methods": {
                "refl": {"weights": tuned},
                "lora": {"like": "refl", "weights": str(folder / "lora.safetensors")},
                "combined": {"weights": tuned, "switch_step": given.steps // 2},
            },
            "metrics": {"lpips": {}},
        }
    )


def resident() -> str:
    """The memory in use now: the process's own, and pages of weights files, which the system takes back at need."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return "memory in use not known on this system"
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    own, files = (int(lines[name].split()[0]) / 2**20 for name in ("RssAnon", "RssFile"))
    return f"{own:.2f} GiB in use and {files:.2f} GiB of files"


def child(given: argparse.Namespace) -> None:
    """Generate, and print what it took."""
    from bench.models.sd import StableDiffusion

    began, gib, told = time.perf_counter(), 2**30, False
    predict = StableDiffusion.predict

    def timed(self: Any, *arguments: Any) -> Any:
        nonlocal told
        if not told:
            told, before = True, time.perf_counter() - began
            words = f"before the first step: {before:.1f} s (digests, loading, encoding)"
            print(f"{words}, {resident()}, peak so far {peak_memory() / gib:.2f} GiB", flush=True)
        return predict(self, *arguments)

    StableDiffusion.predict = timed  # type: ignore[assignment, method-assign]
    folder = Path(given.folder)
    suite = suite_of(folder, given)
    manifests = make_runs(suite, resolve_methods(METHODS, suite), folder / "results", batch_size=given.samples)
    seconds, evaluations, images = total(manifests)
    processor = time.process_time()
    print(
        f"{images} images, {evaluations} evaluations of the UNet: {seconds:.0f} s, {processor:.0f} s of the processor"
    )
    print(f"at the end {resident()}, peak {peak_memory() / gib:.2f} GiB")


def main() -> None:
    """Write the weights, and measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--architecture", default="sd15", choices=["sd15", "small"], help="small: to try this script")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        child(given)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.perf_counter()
        write_pipeline(given.architecture, folder / "pipeline")
        make_network(given.architecture, seed=1).save_pretrained(folder / "tuned")
        write_lora(given.architecture, folder / "lora.safetensors")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"weights written: {size / 2**30:.2f} GiB in {time.perf_counter() - began:.0f} s")
        subprocess.run([sys.executable, *sys.argv, "--folder", name], check=True)


if __name__ == "__main__":
    main()
