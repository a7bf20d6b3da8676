"""HPSv2 here against `hpsv2.score`: images per second on the same machine, weights, images and threads.

    python benchmarks/hpsv2_speed.py [--images N] [--rounds R] [--full]

The original runs in the environment of its own that `bench doctor --verify-metrics` makes (or that
$BENCH_OFFICIAL_PYTHON names). Its `score` loads the checkpoint anew at every call; what it does at the first call only
(building the network) is not counted. By default the checkpoint is small, so that the ratio shows what lies around the
network; with `--full` it is a random ViT-H-14 of the published size (2 GB on disk). The sides run in turn, round by
round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARITY = Path(__file__).parents[1] / "bench" / "doctor" / "parity"
PROMPT = "a watercolour of two foxes in the snow"


def time_original(folder: Path, rounds: int) -> None:
    """Run by the originals' interpreter: print a line of JSON (seconds, values) for each round that stdin asks for."""
    sys.path.insert(0, str(PARITY))
    import official  # type: ignore[import-not-found, unused-ignore]

    official.prepare(folder)
    official.no_tk()
    with official.vocabulary(folder), contextlib.redirect_stdout(sys.stderr):
        import hpsv2
        from hpsv2.src import open_clip
    from PIL import Image

    open_clip.factory.add_model_config(folder / "hpsv2" / "official")
    images = [Image.open(path) for path in sorted((folder / "speed").glob("*.png"))]

    def score(image: Any) -> float:
        with contextlib.redirect_stdout(sys.stderr):
            return float(hpsv2.score(image, PROMPT, hps_version="v2.1")[0])

    score(images[0])
    for _ in range(rounds):
        sys.stdin.readline()
        began = time.perf_counter()
        values = [score(image) for image in images]
        print(json.dumps([time.perf_counter() - began, values]), flush=True)


def full_size(folder: Path, hub: Path) -> None:
    """A fixture of the published size: ViT-H-14 in float16, made from a seed."""
    import open_clip
    import torch

    from bench.doctor.parity import checkpoints
    from bench.doctor.parity.tensors import Draw

    checkpoints.hpsv2(Draw(1), folder, hub)  # the files' names and the hub's cache
    with torch.device("meta"):
        shapes = open_clip.CLIP(**open_clip.get_model_config("ViT-H-14")).state_dict()
    generator = torch.Generator().manual_seed(1)
    state = {}
    for key, like in shapes.items():
        ones = key.endswith(("ln_1.weight", "ln_2.weight", "ln_pre.weight", "ln_post.weight", "ln_final.weight"))
        values = torch.ones(like.shape) if ones else torch.randn(like.shape, generator=generator) * 0.02
        state[key] = values.half()
    for name in ("HPS_v2_compressed.pt", "HPS_v2.1_compressed.pt"):
        torch.save({"state_dict": state}, folder / name)
    config = Path(open_clip.__file__).parent / "model_configs" / "ViT-H-14.json"
    (folder / "official" / "ViT-H-14.json").write_bytes(config.read_bytes())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": json.loads(config.read_text())}))


def build(folder: Path, images: int, full: bool) -> None:
    """Checkpoints and images."""
    from bench.doctor.parity import checkpoints
    from bench.doctor.parity.pictures import write
    from bench.doctor.parity.tensors import Draw

    if full:
        full_size(folder / "hpsv2", folder / "hub")
    else:
        checkpoints.hpsv2(Draw(1), folder / "hpsv2", folder / "hub")
    for number in range(images):
        write(Draw(2), f"{number:03d}", (512, 512, "RGB"), folder / "speed" / f"{number:03d}.png")


def time_here(metric: Any, folder: Path) -> tuple[float, list[float]]:
    """Seconds and values of one round on our side, images opened from their files as on the other."""
    from PIL import Image

    began = time.perf_counter()
    images = [Image.open(path) for path in sorted((folder / "speed").glob("*.png"))]
    values = metric.score(images, [PROMPT] * len(images)).tolist()
    return time.perf_counter() - began, values


def compare(folder: Path, rounds: int) -> None:
    """Run the rounds and print the figures."""
    import metrics
    from bench.doctor.parity.environment import find_python

    command = [str(find_python(None)), __file__, "--original", str(folder), "--rounds", str(rounds)]
    quiet = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet) as original:
        assert original.stdin is not None
        assert original.stdout is not None
        metric = metrics.load("hpsv2.1", weights=folder / "hpsv2", device="cpu")
        time_here(metric, folder)
        ratios = []
        for number in range(rounds):
            original.stdin.write("\n")
            original.stdin.flush()
            theirs, values = json.loads(original.stdout.readline())
            mine, own = time_here(metric, folder)
            difference = max(abs(a - b) for a, b in zip(values, own, strict=True))
            ratios.append(theirs / mine)
            rates = f"hpsv2.score {len(own) / theirs:.2f} images/s, here {len(own) / mine:.2f} images/s"
            print(
                f"round {number + 1}: {rates}, ratio {ratios[-1]:.1f}, largest difference {difference:.1e}", flush=True
            )
    print(f"median ratio over {rounds} rounds: {statistics.median(ratios):.1f}")


def main() -> None:
    """Build, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--original", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.original:
        time_original(given.original, given.rounds)
        return
    with tempfile.TemporaryDirectory() as made:
        build(Path(made), given.images, given.full)
        compare(Path(made), given.rounds)


if __name__ == "__main__":
    main()
