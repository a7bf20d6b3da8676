"""Peak memory of scoring with several mid-size models, against the largest of them alone.

    python benchmarks/scoring_memory.py [--metrics A,B] [--images N] [--side PIXELS] [--keep DIR]

Makes seeded random checkpoints of three scorers (344 to 413 MB in float32; the one of HPSv2 is saved in float16, as
the published one is) and N noisy images, scores them in a process of its own with all metrics, then with each alone,
and prints the peak of resident memory of each process beside what is allowed: the largest model and 2 GiB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

GIB = 2**30
ALLOWED_BEYOND = 2 * GIB
METRICS = ("pickscore", "hpsv2.1", "dino")
_LETTERS = 256


def make_clip(folder: Path) -> None:
    """PickScore's format: a CLIPModel folder with a vision tower of ViT-B/16 and a small text tower."""
    import torch
    from open_clip.tokenizer import bytes_to_unicode
    from transformers import CLIPConfig, CLIPModel

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    text = {"vocab_size": len(tokens), "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 4}
    text |= {"num_attention_heads": 8, "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = CLIPConfig(text_config=text, vision_config={**vision, "patch_size": 16, "image_size": 224})
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)


def make_hps(folder: Path) -> None:
    """HPSv2's format: an open_clip state dict in float16, with its configuration and vocabulary."""
    import open_clip
    import torch

    folder.mkdir(parents=True)
    with gzip.open(folder / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("#version: 0.2")
    config = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 2 * _LETTERS + 2, "width": 512, "heads": 8, "layers": 4},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    torch.manual_seed(1)
    state = open_clip.CLIP(**config).half().state_dict()
    torch.save({"state_dict": state}, folder / "HPS_v2.1_seeded.pt")


def make_dino(folder: Path) -> None:
    """DINO's format: a ViTModel folder of ViT-B/16."""
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(2)
    ViTModel(ViTConfig(), add_pooling_layer=False).save_pretrained(folder)


MAKERS = {"pickscore": make_clip, "hpsv2.1": make_hps, "dino": make_dino}


def make_images(folder: Path, count: int, side: int) -> Path:
    """`count` noisy images, four to a prompt, and the prompt file beside them."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(3)
    prompts = [f"p{index}" for index in range((count + 3) // 4)]
    for index in range(count):
        path = folder / "images" / prompts[index // 4] / f"{index % 4}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    listed = [json.dumps({"id": prompt, "text": f"a red circle {prompt}"}) for prompt in prompts]
    (folder / "prompts.jsonl").write_text("\n".join(listed))
    return folder


def score(folder: Path, names: list[str], results: Path) -> None:
    """What the measured process does; prints its peak and what the models took, as JSON."""
    from bench.pipeline import rescore
    from bench.runtime.devices import peak_memory
    from bench.scoring import memory as models
    from bench.suite.schema import Suite

    sizes: dict[str, int] = {}
    load = models.Models._load

    def weighed(self: Any, name: str) -> Any:
        metric = load(self, name)
        sizes[name] = models.size_of([metric])
        return metric

    models.Models._load = weighed  # type: ignore[method-assign]
    suite = Suite.model_validate(
        {
            "name": "memory",
            "label": "seeded",
            "model": {"weights": str(folder)},
            "prompts": str(folder / "prompts.jsonl"),
            "samples": 4,
            "metrics": {name: {"weights": str(folder / name)} for name in names},
        }
    )
    rescore.score(images=folder / "images", suite=suite, prompts=suite.prompts, name="noise", results=results)
    peak = peak_memory()
    print(json.dumps({"peak": peak, "sizes": sizes}))


def measured(folder: Path, names: list[str]) -> dict[str, Any]:
    """Peak and sizes of a process that scores with these metrics."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, __file__, "--score", str(folder), "--metrics", ",".join(names), "--results", results]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each metric alone, then for all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--keep", type=Path, help="Keep the checkpoints here, or use those that are here.")
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.metrics.split(",")
    if given.score:
        score(given.score, names, given.results)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        for name in names:
            if not (folder / name).is_dir():
                MAKERS[name](folder / name)
        make_images(folder, given.images, given.side)
        alone = {name: measured(folder, [name]) for name in names}
        together = measured(folder, names)
    largest = max(together["sizes"].values())
    for name, found in alone.items():
        print(f"{name} alone: model {found['sizes'][name] / GIB:.2f} GiB, peak {found['peak'] / GIB:.2f} GiB")
    total = sum(together["sizes"].values())
    allowed = largest + ALLOWED_BEYOND
    print(
        f"all {len(names)}: models {total / GIB:.2f} GiB, the largest {largest / GIB:.2f} GiB, "
        f"peak {together['peak'] / GIB:.2f} GiB; allowed {allowed / GIB:.2f} GiB "
        f"({together['peak'] / allowed:.2f} of it)"
    )
    if together["peak"] > allowed:
        sys.exit("the peak is above what is allowed")


if __name__ == "__main__":
    main()
