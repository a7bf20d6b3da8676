"""Which tensors differ between two networks, by kind of layer: `python -m bench.models.difference A B`.

A and B are weights names as in a suite: a network's folder, a pipeline, one safetensors file, or of the hub, such as
`ControlGenAI/ImageReFL_HPS_SD:original_unet` and `ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet`. It tells what a
training has changed: all layers, attention alone (LoRA), or normalisation alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from bench.errors import BenchError, MissingError
from bench.formatting import aligned
from bench.models.families import TUNED_FOLDERS
from bench.models.loading import first_few
from bench.models.weight_files import WeightFiles, weight_files
from bench.models.weights import resolve

_KINDS = (
    ("normalisation", re.compile(r"(^|\.)(\w*norm\w*|ln_\w+|in_layers\.0|out_layers\.0|out\.0)(\.|$)")),
    ("attention", re.compile(r"\.(to_(q|k|v|out|add_out)\b|add_[qkv]_proj|attn\w*\.|attn\d?\.)|\.qkv\.")),
    ("other", re.compile(r"\.proj_(in|out)\.")),  # convolutions or matrices, of blocks that are neither
    ("feed-forward", re.compile(r"\.(ff|ff_context|mlp|img_mlp|txt_mlp)\.|\.proj_mlp\.")),
    (
        "embedding",
        re.compile(r"time_(emb|text_embed)|add_embedding|pos_embed|embedder|label_emb|emb_layers"),
    ),
)
_ORDER = ("normalisation", "attention", "feed-forward", "convolution", "embedding", "other")


@dataclass(slots=True)
class Group:
    """Of one kind of layer: how many tensors and values there are, how many differ, and by how much.

    `largest` is the largest difference of one value, `relative` the norm of all differences over that of A's values.
    """

    kind: str
    tensors: int = 0
    differing: int = 0
    values: int = 0
    differing_values: int = 0
    largest: float = 0.0
    relative: float = 0.0


def kind_of(name: str, shape: Sequence[int]) -> str:
    """The kind of layer that a tensor belongs to, from its name in diffusers' or the original layout."""
    for kind, pattern in _KINDS:
        if pattern.search(name):
            return kind
    return "convolution" if len(shape) == 4 or name.endswith("conv.bias") or ".conv" in f".{name}" else "other"


def difference(a: WeightFiles, b: WeightFiles) -> list[Group]:
    """The groups that there are, by kind. Tensors of two dtypes are compared in the coarser one.

    Raises MissingError for networks of different tensors or shapes: they are no two states of one network.
    """
    names = a.keys()
    if unlike := names ^ b.keys():
        raise MissingError(
            f"{a.folder} and {b.folder} are not two states of one network: {first_few(unlike)} is in one of them only"
        )
    groups: dict[str, Group] = {}
    squares: dict[str, list[float]] = {}
    for name in sorted(names):
        first, second = _alike(a.read(name), b.read(name), name)
        kind = kind_of(name, first.shape)
        group, sums = groups.setdefault(kind, Group(kind)), squares.setdefault(kind, [0.0, 0.0])
        moved = (second.double() - first.double()).abs()
        group.tensors += 1
        group.values += first.numel()
        group.differing += bool(moved.any())
        group.differing_values += int(moved.count_nonzero())
        group.largest = max(group.largest, float(moved.max()) if moved.numel() else 0.0)
        sums[0] += float(moved.square().sum())
        sums[1] += float(first.double().square().sum())
    for kind, (moved_square, own) in squares.items():
        groups[kind].relative = (moved_square / own) ** 0.5 if own else 0.0
    return [groups[kind] for kind in _ORDER if kind in groups]


def _alike(a: Tensor, b: Tensor, name: str) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape:
        raise MissingError(f"{name} has the shape {tuple(a.shape)} in one and {tuple(b.shape)} in the other")
    coarser = min((a.dtype, b.dtype), key=lambda dtype: torch.finfo(dtype).bits if dtype.is_floating_point else 64)
    return a.to(coarser), b.to(coarser)


def network_files(name: str) -> WeightFiles:
    """The files of the network that a weights name means. Raises MissingError."""
    path = resolve(name)
    if path.is_file():
        return WeightFiles(path, (path,))
    inside = [path / folder for folders in TUNED_FOLDERS.values() for folder in folders]
    folder = next((one for one in (path, *inside) if any(one.glob("*.safetensors"))), None)
    if folder is None:
        raise MissingError(f"{path} contains no network: give the folder or safetensors file of one")
    return weight_files(folder)


def as_table(groups: Sequence[Group]) -> str:
    """The groups as aligned text, and one sentence that says what differs."""
    head = ("layers", "tensors", "differ", "values", "differ", "largest", "relative")
    rows = [
        (
            group.kind,
            str(group.tensors),
            str(group.differing),
            f"{group.values:,}",
            f"{group.differing_values:,}",
            f"{group.largest:.3g}",
            f"{group.relative:.3g}",
        )
        for group in groups
    ]
    return f"{aligned(head, rows)}\n{sentence(groups)}"


def sentence(groups: Sequence[Group]) -> str:
    """Which kinds of layers differ."""
    differing = [group.kind for group in groups if group.differing]
    same = [group.kind for group in groups if not group.differing]
    if not differing:
        return "The two networks are the same."
    if not same:
        return "Layers of every kind differ."
    return f"Only {', '.join(differing)} differ; {', '.join(same)} are the same."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or with --json the groups; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.models.difference", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("a", metavar="A", help="weights of the first network")
    parser.add_argument("b", metavar="B", help="weights of the second network")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    try:
        groups = difference(network_files(given.a), network_files(given.b))
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if given.json:
        found: Mapping[str, object] = {"a": given.a, "b": given.b, "layers": [asdict(group) for group in groups]}
        print(json.dumps(found, indent=2))
    else:
        print(as_table(groups))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
