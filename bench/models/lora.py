"""Adapters (LoRA, DoRA, LoHa, LoKr, OFT) added to the base network and to the text encoders themselves.

Every layout is read by one parser (`bench.models.adapters`), so that what acts does not depend on a converter that
drops what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.models.adapters.factors import Change
from bench.models.adapters.install import install, uninstall
from bench.models.adapters.keys import NETWORK, is_adapter
from bench.models.adapters.read import read_adapter
from bench.models.adapters.verify import verify
from bench.models.base import Network
from bench.models.loading import quiet
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

is_lora = is_adapter


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """How an adapter is loaded: the strength that multiplies its own, and the text encoders that it may tune.

    With `ignore_text` what it says of text encoders is left out, and said.
    """

    scale: float = 1.0
    encoders: Mapping[str, nn.Module] = field(default_factory=dict)
    ignore_text: bool = False

    @classmethod
    def of(cls, parts: Mapping[str, Any], scale: float, ignore_text: bool) -> AdapterOptions:
        """For a pipeline of these parts, by their folders' names."""
        encoders = {name: part for name, part in parts.items() if "text_encoder" in name and part is not None}
        return cls(scale, encoders, ignore_text)


def without_text(path: Path, parts: Sequence[str], ignore_text: bool) -> list[str]:
    """Of the parts that a checkpoint brings those that are used; what is left out is said."""
    left_out = [part for part in parts if "text_encoder" in part] if ignore_text else []
    if left_out:
        what = " and ".join(left_out)
        logger.warning(f"{path}: its part for {what} is ignored, as text_encoder = 'ignore' asks", extra=ONCE)
    return [part for part in parts if part not in left_out]


def load_lora(
    path: Path, tensors: Mapping[str, Tensor], base: nn.Module, adapter: str, options: AdapterOptions
) -> Network:
    """Add the adapter in `path`, whose tensors these are, to the networks that it tunes under the name `adapter`.

    It is left switched off. Raises MissingError: damaged, of another model, of a kind that is not read.
    """
    parts, scale, ignore_text = {NETWORK: base, **options.encoders}, options.scale, options.ignore_text
    with quiet():
        read = read_adapter(path, tensors, parts, scale, ignore_text)
    without_text(path, read.left_out, ignore_text)
    for part in read.parts:
        module: Any = parts[part]
        change = Change(read.layers.get(part, {}), read.weights.get(part, {}), scale)
        try:
            with quiet():
                install(module, adapter, change)
                verify(module, adapter, change)
        except Exception:
            for part in read.parts:
                uninstall(parts[part], adapter)
            raise
    text = any(part != NETWORK for part in read.parts)
    return Network(parts[NETWORK], adapter if NETWORK in read.parts else None, text_adapter=adapter if text else None)
