"""Half-precision and other twins of published weights, by the names of their files. Reads nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

TWINS = ("*.fp16.*", "*.bf16.*", "*.fp16-*", "*.non_ema.*", "*.non_ema-*", "*.index.fp16.json")
"""Patterns of weights that lie beside whole ones and are not fetched with them."""
_ORDER = ("fp16", "bf16", "non_ema")


def is_twin(file: str) -> bool:
    """Whether a file, by its path, is a variant of weights."""
    return any(fnmatch.fnmatch(file.rpartition("/")[2], pattern) for pattern in TWINS)


def only_variants(files: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Of folders that hold variants only, the files of the better one: what is fetched where there is nothing else.

    Files count that match one of the patterns (of fnmatch).
    """
    names = sorted(file for file in files if any(fnmatch.fnmatch(file, pattern) for pattern in patterns))
    whole = {_folder(file) for file in names if file.endswith(".safetensors") and not is_twin(file)}
    left = [file for file in names if is_twin(file) and _folder(file) not in whole]
    chosen: dict[str, str] = {}
    for variant in _ORDER:
        for file in left:
            if f".{variant}" in file:
                chosen.setdefault(_folder(file), variant)
    return [file for file in left if f".{chosen[_folder(file)]}" in file]


def _folder(file: str) -> str:
    return file.rpartition("/")[0]
