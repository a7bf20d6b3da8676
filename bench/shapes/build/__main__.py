"""`python -m bench.shapes.build [PART ...]`: rebuild the embedded world's weights from seeds, and time it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

WEIGHTS = Path(__file__).parents[1] / "weights"
PARTS = (
    "vae", "decoder", "text", "bank", "unet", "features", "pickscore", "hpsv2", "image_reward", "refl", "imagerefl",
    "export",
)  # fmt: skip


def main() -> None:
    """Build the named parts (all by default) under --work, then copy what is shipped to bench/shapes/weights."""
    parser = argparse.ArgumentParser(prog="python -m bench.shapes.build", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all", help="what to build, in order")
    parser.add_argument("--work", type=Path, default=Path("build/shapes"), help="where unfinished parts are kept")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="training processes")
    given = parser.parse_args()
    parts = PARTS if "all" in given.parts else [part for part in PARTS if part in given.parts]
    given.work.mkdir(parents=True, exist_ok=True)
    times = given.work / "seconds.json"
    seconds: dict[str, float] = json.loads(times.read_text()) if times.exists() else {}
    for part in parts:
        began = time.monotonic()
        build(part, given.work, given.processes)
        seconds[part] = round(time.monotonic() - began, 1)
        times.write_text(json.dumps(seconds, indent=2) + "\n")
        print(f"{part}: {seconds[part]:.0f} s", flush=True)


def build(part: str, work: Path, processes: int) -> None:
    """Build one part in the folder `work`."""
    from bench.shapes.build import features, scorers, text, unet, vae
    from bench.shapes.build.bank import draw_banks
    from bench.shapes.build.export import SEEDS, export, replicate
    from bench.shapes.build.parallel import launch

    alone: dict[str, Callable[[], None]] = {
        "decoder": lambda: launch(vae.refine_decoder, work / "vae", 1),
        "text": lambda: launch(text.train, work, 1),
        "bank": lambda: launch(draw_banks, work, 1),
        "features": lambda: launch(features.train, work, 1),
        "export": lambda: export(work, WEIGHTS),
    }
    if part in ("vae", "unet"):
        launch({"vae": vae.train, "unet": unet.train}[part], work / part, processes)
    elif part in scorers.SCORERS:
        launch(lambda _, out: scorers.train_one(part, out), work, 1)
    elif part in ("refl", "imagerefl"):
        export(work, WEIGHTS)  # the trainings read the suite's weights, as any user's do
        for seed in SEEDS:
            tune(part, seed, work / replicate(part, seed))
    else:
        alone[part]()


def tune(objective: str, seed: int, out: Path) -> None:
    """Run `bench train` as a user would."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "bench", "train", objective, "--suite", "shapes", "--reward", "pickscore"]
    command += ["--seed", str(seed)]
    subprocess.run([*command, "--out", str(out)], check=True)


if __name__ == "__main__":
    main()
