"""Memory of combined generation with a LoRA, and with a second network, against the base model alone.

    python benchmarks/lora_memory.py [--architecture small|sd15|sdxl] [--device D] [--resolution R]

Each case generates in a process of its own: on CUDA its peak is what torch allocated, else the process's resident
memory, of which the weights are the larger part. Aim: at most 5 % more with a LoRA.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from generating import made_suite, make_network, make_runs, write_lora, write_pipeline

from bench.suite.resolve import resolve_methods


def child(given: argparse.Namespace) -> None:
    """Generate one case and print its peak in bytes."""
    folder = Path(given.folder)
    tuned = {"base": None, "lora": folder / "lora.safetensors", "network": folder / "tuned"}[given.case]
    suite = made_suite(
        folder / "pipeline",
        given.architecture,
        tuned,
        limit=1,
        samples=1,
        resolution=given.resolution,
        sampler={"steps": 4},
        **({} if tuned is None else {"methods": {"combined": {"weights": str(tuned), "switch_step": 2}}}),
    )
    methods = resolve_methods(["base"] if tuned is None else ["combined"], suite)
    with tempfile.TemporaryDirectory() as results:
        (manifest,) = make_runs(suite, methods, Path(results), device=given.device, batch_size=1)
    timings = manifest.timings
    print(timings.get("peak_device_memory_bytes") or timings["peak_memory_bytes"])


def main() -> None:
    """Write the models, then print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="small", choices=["small", "sd15", "sdxl"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        child(given)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pipeline(given.architecture, folder / "pipeline")
        write_lora(given.architecture, folder / "lora.safetensors")
        make_network(given.architecture, seed=1).save_pretrained(folder / "tuned")
        peaks = {}
        for case in ("base", "lora", "network"):
            command = [sys.executable, __file__, *sys.argv[1:], "--case", case, "--folder", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peaks[case] = int(done.stdout.split()[-1])
    titles = {"base": "base alone", "lora": "combined, LoRA of rank 16", "network": "combined, second network"}
    for case, peak in peaks.items():
        print(f"{titles[case]}: {peak / 2**20:.0f} MiB ({peak / peaks['base']:.3f} of base alone)")


if __name__ == "__main__":
    main()
