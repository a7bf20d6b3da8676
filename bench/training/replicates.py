"""The same training with several seeds: one checkpoint a seed, each continued or left alone like any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError

MOST_SEEDS = 100


def parse_seeds(text: str) -> list[int]:
    """ "0,1,2" or "0-2" -> [0, 1, 2]. Raises UsageError: no whole numbers, a seed twice, or more than 100."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"--seeds {text}: '{part.strip()}' is not a seed; write 0,1,2 or 0-2")
        low, high = int(first), int(last or first)
        if low > high:
            raise UsageError(f"--seeds {text}: '{part.strip()}' is an empty range; write the smaller seed first")
        if high - low >= MOST_SEEDS:
            raise UsageError(f"--seeds {text} are more than {MOST_SEEDS} training runs: split them over several calls")
        found += range(low, high + 1)
    if len(found) > MOST_SEEDS:
        raise UsageError(f"--seeds {text} are more than {MOST_SEEDS} training runs: split them over several calls")
    twice = sorted({seed for seed in found if found.count(seed) > 1})
    if twice:
        raise UsageError(f"--seeds {text} name {twice[0]} twice: one checkpoint is made for each seed")
    return found


def chosen_seeds(seed: int, seeds: str | Sequence[int]) -> list[int]:
    """The seeds of several trainings, "0-2" as `--seeds` has it or [0, 1, 2]. Raises UsageError: as `parse_seeds`, or
    `seed` is given as well."""
    if seed:
        raise UsageError("--seed and --seeds are both given: --seeds names all of them")
    return parse_seeds(seeds if isinstance(seeds, str) else ",".join(map(str, seeds)))


def out_of(out: Path, seed: int) -> Path:
    """The folder of one seed's checkpoint, OUT-seed0: as the default folders are named."""
    return out.with_name(f"{out.name}-seed{seed}")
