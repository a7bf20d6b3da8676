"""Which tensors of two published networks differ: what a training moved, and what it cannot have trained.

    python -m bench.training.weights_difference BASE TUNED

BASE and TUNED are folders or safetensors files of the same architecture (`original_unet` and `fine_tuned_unet` of a
published ImageReFL repository). If normalisation layers alone differ, the trainer ran with torch 2.5 to 2.7, whose
autocast cache leaves gradients to those alone (docs/training.md).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.errors import BenchError, MissingError, UsageError
from bench.formatting import aligned

KINDS = ("norms", "cross_attention", "attention", "others")


def kind_of(name: str) -> str:
    """The kind of a tensor by its name in a diffusers network: one of KINDS."""
    owner = name.rpartition(".")[0].rpartition(".")[2]
    if "norm" in owner:
        return "norms"
    if ".attn2." in name:
        return "cross_attention"
    return "attention" if any(part in name for part in (".attn1.", ".attn.")) else "others"


def differing(base: Path, tuned: Path) -> dict[str, Counter[str]]:
    """For each of "all", "differ": the number of tensors of each kind.

    Raises MissingError for a file that is not there, UsageError for two architectures.
    """
    one, two = _open(base), _open(tuned)
    if one.keys() != two.keys():
        odd = min(one.keys() ^ two.keys())
        raise UsageError(f"{base} and {tuned} have different architectures: {odd} is in one of them only")
    found: dict[str, Counter[str]] = {"all": Counter(), "differ": Counter()}
    for name in sorted(one):
        a, b = _tensor(one[name], name), _tensor(two[name], name)
        if a.shape != b.shape:
            raise UsageError(f"{base} and {tuned} have different architectures: {name} has two shapes")
        found["all"][kind_of(name)] += 1
        found["differ"][kind_of(name)] += not bool((a.float() == b.float()).all())
    return found


def _open(path: Path) -> dict[str, Path]:
    """Tensor name -> file of a network."""
    from safetensors import safe_open

    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise MissingError(f"{path} has no safetensors file: give the folder of a network (unet, transformer)")
    names: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(str(file), framework="pt") as handle:
                names |= dict.fromkeys(handle.keys(), file)
        except Exception as error:  # safetensors has its own kinds for damaged files
            raise MissingError(f"{file} is damaged ({error}): download the file again") from error
    return names


def _tensor(file: Path, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as handle:
        return handle.get_tensor(name)


def main(arguments: list[str]) -> int:
    """Print the table; 2 or 4 with a sentence for what cannot be compared."""
    if len(arguments) != 2:
        print("usage: python -m bench.training.weights_difference BASE TUNED", file=sys.stderr)
        return 2
    try:
        found = differing(Path(arguments[0]), Path(arguments[1]))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    rows = [[kind, str(found["differ"][kind]), str(found["all"][kind])] for kind in KINDS if found["all"][kind]]
    print(aligned(["tensors", "differ", "of"], rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
