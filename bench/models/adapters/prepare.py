"""An adapter's tensors before they are read: behind no wrapper that nobody knows, and all of them real numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.errors import MissingError
from bench.models.adapters.keys import PLAIN, Key, parse_key
from bench.models.adapters.names import Names

_DEEPEST = 5
_WORD = re.compile(r"\w+\.")


def unwrapped(tensors: Mapping[str, Tensor], parts: Mapping[str, nn.Module], family: str | None) -> dict[str, Tensor]:
    """The tensors without the words that trainers put before all keys, whatever they are ("pipe.", "state_dict.").

    Words are taken away only while all keys begin with the same one and none is of a layer that a part has.
    """
    names = {part: Names(module) for part, module in parts.items()}
    found = dict(tensors)
    for _ in range(_DEEPEST):
        if any(_is_known(parse_key(key, family), names) for key in found):
            return found
        words = {match.group() if (match := _WORD.match(key)) else "" for key in found}
        word = words.pop() if len(words) == 1 else ""
        if not word:
            break
        found = {key.removeprefix(word): value for key, value in found.items()}
    return dict(tensors)


def _is_known(key: Key, names: Mapping[str, Names]) -> bool:
    return key.part in names and bool(key.layer) and names[key.part].find(key.layer) is not None


def check_values(path: Path, keys: Mapping[str, Key], tensors: Mapping[str, Tensor]) -> None:
    """MissingError for factors that are integers (quantised without their scales), and for values that are no numbers.

    Alphas may be integers, and so may whole parameters, which are compared with the network's own.
    """
    for name, key in keys.items():
        value = tensors[name]
        if not value.is_floating_point():
            if key.kind == PLAIN or key.factor == "alpha":
                continue
            kind = str(value.dtype).removeprefix("torch.")
            raise MissingError(
                f"{path} contains integers ({name}: {kind}), where an adapter has real numbers: quantised adapters are "
                "not supported; use the file in bfloat16, float16 or float32"
            )
        if key.kind != "original" and not bool(value.float().isfinite().all()):
            raise MissingError(
                f"{path} contains NaN or infinite values ({name}): its training diverged or the file is damaged; take "
                "another checkpoint"
            )
