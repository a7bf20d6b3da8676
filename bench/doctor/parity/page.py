"""docs/parity.md: the tables of one comparison, with everything that is needed to repeat it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.doctor.parity.compare import Outcome
from bench.doctor.parity.ours import SCORERS
from bench.formatting import markdown_table

_COMMAND = "bench doctor --verify-metrics --values tests/data/parity/official.json"
_OURS = ("torch", "torchvision", "transformers", "tokenizers", "open_clip_torch", "lpips", "dreamsim", "peft", "numpy")
_INTRODUCTION = """\
# Equal to the originals

Every scorer is compared with its original package: the same files, images and prompts go through the original's
public call, in an environment of its own, and through ours. This page is written by

    make parity        # bench doctor --verify-metrics --out docs/parity.md

which makes that environment on first use (Python 3.11 and `bench/doctor/parity/official.txt`), and ends with exit
code 1 if a scorer differs. `tests/parity` repeats the comparison with the originals' recorded values on every test run.

The checkpoints are made from a seed in the originals' file formats, small where the original allows it: what is proven
is the whole path from PIL image and string to value, not the values of the published weights. `largest` and `relative`
are the largest absolute and relative difference of two values in float32 on the CPU, `spread` the standard deviation of
the original's values (a fixture whose values did not vary would prove nothing). Relative differences are large only
where a value happens to be near zero.
"""
_ORIGINALS = """\
## What was compared with what

| scorer | the original's call |
|---|---|
| image_reward | `ImageReward.load(file).score(prompt, image)`; its ViT and head take their sizes from the file |
| hpsv2, hpsv2.1 | `hpsv2.score(image, prompt, hps_version)`; sizes from a configuration that its function registers |
| hpsv2.1-antialias | the same, with `antialias=True` as the default of torchvision's `resize`, as it is since 0.17 |
| pickscore | transformers' `CLIPModel` and `AutoProcessor`: exp(logit_scale) x cosine |
| clip_score | transformers' `CLIPModel` and `AutoProcessor`: 100 x cosine |
| lpips-* | `lpips.LPIPS(net)(a, b)`, pair by pair, on the package's own linear weights |
| dreamsim-* | `dreamsim(dreamsim_type)`'s `model(a, b)`, pair by pair, at full size |

## Where the original's number depends on what is installed beside it

- HPSv2's resize takes torchvision's default: no antialias up to 0.16, antialias since 0.17. Our option `antialias` (off
  by default) says which; both are above.
- HPSv2 runs under autocast: float16 on CUDA, float32 on a CPU. Our option `autocast` (off by default) computes in
  float16 where CUDA's autocast does. The originals run on a CPU here, so that this option is not compared.
- PIL resizes in two passes and rounds between them: horizontal first up to Pillow 12, while 13 takes the other order
  where the height shrinks more than the width. Ours is always horizontal first, with any Pillow.
- CLIP's text is pooled at the largest id (`eos_token_id` 2) or at the first end-of-text token: it is the same token.
- Where a central crop cuts off an odd number of pixels, PickScore and CLIPScore (transformers) round its offset down,
  ImageReward (torchvision) half to even. Ours do as each original does.

## Compared elsewhere

Scorers whose original cannot be installed beside a small model are compared in their own tests, with its calls written
out. The judges' network is a random Qwen3-VL of the published layout, and a mistake that a port invites (token before
the last, spellings without a space, no end of the image, text before the image, another resize) moves a value by more
than a thousandth. "Checked against our reading" on a card means this. `python -m pytest -s -k programs
tests/unit/metrics/test_judge.py` prints the largest differences.

| scorer | against | values | largest difference, of the largest value | held to |
|---|---|---:|---:|---|
| vqascore | the calls of GenEval 2's program: chat template, `generate` with scores | 16 | 0 | 1e-5 |
| geneval2, _gm, _object, _attribute, _count | the same, question by question | 5 | 5.0e-8 | 1e-5 |
| unified_reward | greedy decoding token by token, without a cache | 1 | equal text | equal text |

DreamSim's `dinov2_vitb14` is not covered: its network's code is fetched from elsewhere.

Metrics without an original that runs here (HPSv3, DINOv3, CycleReward, MPS, GenEval's rules, IRS, PRDC, PVS and
Conditional Vendi among them) are compared with second readings, and planted mistakes with both:
[parity_readings.md](parity_readings.md).
"""


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in versions.items())


def _here(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _without(outcome: Outcome) -> Iterator[str]:
    yield "## Inputs without a value to compare with"
    yield ""
    yield "| scorers | input | what the original does | ours |"
    yield "|---|---|---|---|"
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in outcome.rows:
        for name, why in row.without.items():
            grouped.setdefault((name, why), []).append(row.scorer)
    for (name, why), scorers in grouped.items():
        yield f"| {', '.join(scorers)} | {name} | {why} | {_ours_does(scorers[0], name)} |"


def _ours_does(scorer: str, name: str) -> str:
    metric = SCORERS[scorer][0]
    if metric == "lpips":
        return "refused in one sentence"
    if metric.startswith("hpsv2"):
        return "converted to RGB" if name.endswith("RGBA") else "padded, at least one pixel"
    return "refused: 16 bits" if name.endswith("I16") else "scored as it looks"


def recorded(official: Mapping[str, Any]) -> str:
    """The originals' values as JSON, a line a scorer, for tests that run without them."""
    lines = [
        f'"command": {json.dumps(_COMMAND)}',
        *(f'"{key}": {json.dumps(official[key])}' for key in ("fixture", "seed", "versions")),
    ]
    scorers = [f'  "{name}": {json.dumps(values)}' for name, values in official["values"].items()]
    return "{\n" + ",\n".join(lines) + ',\n"values": {\n' + ",\n".join(scorers) + "\n}\n}\n"


def page(outcome: Outcome) -> str:
    """The page as Markdown."""
    table = outcome.table()
    lines = [
        _INTRODUCTION,
        "## Measured",
        "",
        *markdown_table(table.header, table.rows, table.right),
        "",
        outcome.verdict,
        "",
        f"- originals: {_versions(outcome.versions)}",
        f"- ours: {_versions(_here((*_OURS, 'pillow')))}",
        f"- fixture: {outcome.digest}",
        "",
        _ORIGINALS,
        *_without(outcome),
        "",
        "Images of 16 bits a channel are refused by all our image scorers with a sentence that says what to do; they "
        "are compared after `image.convert('RGB')`, which is what the originals do (it cuts values off at 255).",
    ]
    return "\n".join(lines) + "\n"
