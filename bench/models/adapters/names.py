"""Names of a network's layers in every layout that adapters are published in, for each family.

Training tools write a layer's dotted path as diffusers calls it, that path with underscores (kohya, LyCORIS,
OneTrainer), or the name in the authors' own code, dotted (ComfyUI) or with underscores (kohya). The authors' code has
one layer where diffusers has several (query, key and value in one matrix), and the two halves of the last modulation
the other way round: a name therefore means a list of layers with the rows that each takes of the joint output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.models.adapters.original import ORIGINAL
from bench.models.families import family_of_config


@dataclass(frozen=True, slots=True)
class Target:
    """A layer of the network, and which rows of a named layer's output are its own (None: all, in their order)."""

    path: str
    rows: Tensor | None = None


Targets = tuple[Target, ...]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_OUTER = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
# diffusers' modulation of the last layers: scale first; the authors': shift first.
_SWAPPED = {"final_layer.adaLN_modulation.1": "norm_out.linear"}
_TEXT_ATTENTION = re.compile(r"(?P<attention>.*self_attn)\.(?P<layer>q|k|v|out)_proj")
_PROCESSOR = re.compile(r"(?P<attention>.+)\.(?P<layer>to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj)")


class Names:
    """Which layers of one network a name means, in any layout. `find` of a name that the network has not is None."""

    def __init__(self, network: nn.Module) -> None:
        self.layers = base_modules(network)
        self._exact: dict[str, Targets] = {path: (Target(path),) for path in self.layers}
        self._known = {_flat(path): targets for path, targets in self._exact.items()}
        for name, targets in self._others(network):
            self._known.setdefault(_flat(name), targets)

    def find(self, name: str) -> Targets | None:
        """The layers that a dotted or underscored name means."""
        found = self._exact.get(name) or self._known.get(_flat(name))
        if found is None:  # transformers' CLIP had one more level, and files keep it
            short = _flat(name).removeprefix("text_model_")
            found = self._known.get(short) or self._known.get(f"text_model_{short}")
        return found

    def _others(self, network: nn.Module) -> Iterator[tuple[str, Targets]]:
        for path in self.layers:
            if match := _PROCESSOR.fullmatch(path):
                name = match["layer"].removesuffix(".0")
                yield f"{match['attention']}.processor.{name}_lora", (Target(path),)
            if match := _TEXT_ATTENTION.fullmatch(path):  # as diffusers once wrote the LoRA of a text encoder
                yield f"{match['attention']}.to_{match['layer']}_lora", (Target(path),)
        config = getattr(network, "config", None)
        family = family_of_config({**_plain(config), "_class_name": type(network).__name__})
        if family in ORIGINAL:
            yield from self._transformer(family)
        elif family in ("sd", "sdxl"):
            yield from self._unet()

    def _transformer(self, family: str) -> Iterator[tuple[str, Targets]]:
        blocks, outer = ORIGINAL[family]
        yield from ((name, (Target(path),)) for name, path in outer.items() if path in self.layers)
        yield from ((name, (self._swapped(path),)) for name, path in _SWAPPED.items() if path in self.layers)
        for ours, theirs, parts in blocks:
            count = 1 + max(
                (int(path.split(".")[1]) for path in self.layers if path.startswith(f"{ours}.")), default=-1
            )
            for index in range(count):
                for name, layers in parts.items():
                    paths = [f"{ours}.{index}.{layer}" for layer in layers]
                    if all(path in self.layers for path in paths):
                        yield f"{theirs}.{index}.{name}", self._joint(family, paths)

    def _joint(self, family: str, paths: Sequence[str]) -> Targets:
        if len(paths) == 1:
            last = family == "sd3" and paths[0].endswith("norm1_context.linear") and self._is_scale_and_shift(paths[0])
            return (self._swapped(paths[0]),) if last else (Target(paths[0]),)
        targets, start = [], 0
        for path in paths:
            size = len(self.layers[path].weight)
            targets.append(Target(path, torch.arange(start, start + size)))
            start += size
        return tuple(targets)

    def _is_scale_and_shift(self, path: str) -> bool:
        """Whether a modulation makes two vectors: that of the last block's text, which has no further layers."""
        weight: Tensor = self.layers[path].weight
        return len(weight) == 2 * weight.shape[1]

    def _swapped(self, path: str) -> Target:
        rows = torch.arange(len(self.layers[path].weight))
        return Target(path, rows.roll(len(rows) // 2))

    def _unet(self) -> Iterator[tuple[str, Targets]]:
        """Names as in the first Stable Diffusion code, which numbers a UNet's parts one after the other."""
        yield from ((name, (Target(path),)) for name, path in _UNET_OUTER.items() if path in self.layers)
        indices = dict(self._unet_places())
        for path in self.layers:
            words = path.split(".")
            head = next((".".join(words[:n]) for n in (5, 4, 3) if ".".join(words[:n]) in indices), None)
            if head is not None:
                rest = path.removeprefix(f"{head}.")
                rest = _RESNET.get(rest, rest) if ".resnets." in f".{head}." else rest
                yield (f"{indices[head]}.{rest}" if rest != path else indices[head]), (Target(path),)

    def _unet_places(self) -> Iterator[tuple[str, str]]:
        """Parts of the UNet (a residual block, a transformer, a sampler) by both names."""
        yield from (("mid_block.resnets.0", "middle_block.0"), ("mid_block.attentions.0", "middle_block.1"))
        yield "mid_block.resnets.1", "middle_block.2"
        for side, theirs, number in (("down_blocks", "input_blocks", 1), ("up_blocks", "output_blocks", 0)):
            for block in range(_count(self.layers, f"{side}.")):
                inside = f"{side}.{block}"
                for layer in range(_count(self.layers, f"{inside}.resnets.")):
                    yield f"{inside}.resnets.{layer}", f"{theirs}.{number}.0"
                    yield f"{inside}.attentions.{layer}", f"{theirs}.{number}.1"
                    number += 1
                if side == "down_blocks":
                    yield f"{inside}.downsamplers.0.conv", f"{theirs}.{number}.0.op"
                    number += any(path.startswith(f"{inside}.downsamplers.") for path in self.layers)
                else:
                    index = 1 + any(path.startswith(f"{inside}.attentions.") for path in self.layers)
                    yield f"{inside}.upsamplers.0.conv", f"{theirs}.{number - 1}.{index}.conv"


def base_modules(network: nn.Module) -> dict[str, Any]:
    """A network's own leaf modules with weights by their paths, whatever adapters were put around them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found: dict[str, Any] = {}
    waiting: list[tuple[str, nn.Module]] = [("", network)]
    while waiting:
        path, module = waiting.pop()
        if isinstance(module, BaseTunerLayer):
            module = module.get_base_layer()
        if isinstance(getattr(module, "weight", None), Tensor):
            found[path] = module
        waiting += [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
    return dict(sorted(found.items()))


def _count(paths: Mapping[str, Any], prefix: str) -> int:
    return 1 + max(
        (int(path.removeprefix(prefix).split(".")[0]) for path in paths if path.startswith(prefix)), default=-1
    )


def _plain(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    return dict(config) if isinstance(config, Mapping) else dict(config.to_dict())


def _flat(name: str) -> str:
    return name.replace(".", "_")
