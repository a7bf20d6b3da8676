"""Puts a layer's tensors of a file together: complete, of the layer's shape, with its alpha, split where joint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import MissingError
from bench.models.adapters.base_weights import Place, base_places
from bench.models.adapters.factors import TITLES, Factors, new_weight
from bench.models.adapters.keys import Key
from bench.models.adapters.names import Names, Target, Targets
from bench.models.adapters.settings import Settings
from bench.models.loading import first_few, read_header
from bench.models.peft_files import PEFT_CONFIG, in_peft_layout
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

# Factors without which a layer is incomplete; of each group one.
_NEEDED = {
    "lora": (("A",), ("B",)),
    "loha": (("w1_a",), ("w1_b",), ("w2_a",), ("w2_b",)),
    "lokr": (("w1", "w1_a"), ("w1", "w1_b"), ("w2", "w2_a"), ("w2", "w2_b")),
    "oft": (("R",),),
    "oft_r": (("r",),),
    "oft_blocks": (("blocks",),),
    "diff": (("weight", "bias"),),
}
_FILE_NAMES = {"lora": "lora_", "loha": "hada_", "lokr": "lokr_", "oft": "oft_", "oft_blocks": "oft_"}
_RANKED = ("lora", "loha", "lokr")


@dataclass(slots=True)
class Group:
    """The tensors of one layer in a file: by kind and factor, and those that belong to whatever kind there is."""

    key: Key
    kinds: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)


def check_complete(path: Path, groups: Iterable[Group]) -> None:
    """MissingError, naming what is absent, unless each layer has all of its factors: PEFT would draw random ones."""
    absent, kinds = [], set()
    for group in groups:
        for kind, tensors in group.kinds.items():
            wanted = [names[-1] for names in _NEEDED[kind] if not any(name in tensors for name in names)]
            absent += [f"{group.key.layer}.{_FILE_NAMES.get(kind, '')}{name}" for name in wanted]
            kinds |= {TITLES[kind]} if wanted else set()
    if absent:
        raise MissingError(
            f"{path} is an incomplete {' and '.join(sorted(kinds))}: it lacks {first_few(absent)}; download the file "
            "again"
        )


class Assembly:
    """Collects factors by layer and whole parameters by name, for each part of a pipeline."""

    def __init__(self, path: Path, parts: Mapping[str, nn.Module], names: Mapping[str, Names], strength: float) -> None:
        self.path, self.names, self.strength = path, names, strength
        self.layers: dict[str, dict[str, Factors]] = {}
        self.weights: dict[str, dict[str, Tensor]] = {}
        self._places = {part: base_places(parts[part]) for part in names}
        self._unsaid: list[str] = []
        self._with_rank = 0

    def add(self, group: Group, targets: Targets, settings: Settings) -> None:
        """One layer of the file. MissingError: incomplete, of another shape, of two kinds at once."""
        kinds = [kind for kind in group.kinds if kind != "diff"]
        if len(kinds) > 1 or not group.kinds:
            what = f"is of two kinds ({', '.join(kinds)})" if kinds else "has no factors"
            raise MissingError(f"{self.path} is damaged: its layer {group.key.layer} {what}")
        for kind, tensors in group.kinds.items():
            if kind == "diff":
                self._add_difference(group, tensors, targets)
            else:
                self._add_factors(self._factors(group, kind, tensors, settings), group, targets)

    def finish(self, plain: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Add the whole parameters; those that are the network's own change nothing. Says where alpha was not said."""
        for part, values in plain.items():
            for name, value in values.items():
                self._replace(part, name, value, name, 1.0)
        if self.strength != 1.0 and any(plain.values()):
            logger.warning(
                f"{self.path} also contains full parameters; lora_scale applies only to its factors",
                extra=ONCE,
            )
        if self._unsaid:
            every = len(self._unsaid) == self._with_rank
            which = "" if every else f" for {len(self._unsaid)} of its {self._with_rank} layers"
            beside = f" (there is no {PEFT_CONFIG} beside it)" if in_peft_layout(self.path) else ""
            logger.warning(
                f"{self.path} states no alpha{which}{beside}{self._in_header()}; assuming alpha = rank (scale 1)",
                extra=ONCE,
            )

    def _in_header(self) -> str:
        """What kohya's header says of the training's alpha: tools that merge it into the factors leave it there."""
        header = read_header(self.path)
        alpha, rank = header.get("ss_network_alpha"), header.get("ss_network_dim")
        if alpha is None or alpha == rank:
            return ""
        return f" for its layers (its header says that it was trained with alpha {alpha} at rank {rank})"

    # --- one layer

    def _factors(self, group: Group, kind: str, tensors: dict[str, Tensor], settings: Settings) -> Factors:
        factors = Factors(kind, group.key.layer, dict(tensors))
        alpha = self._alpha(group)
        own = settings if settings.kind in (None, kind) or kind == "oft_r" else Settings()
        if kind in _RANKED:
            inner, said = factors.inner_rank, own.rank_of(group.key.layer)
            if inner == 0:
                raise MissingError(f"{self.path} is damaged: the factors of {group.key.layer} have rank 0")
            if kind == "lora" and said is not None and said != inner:
                raise MissingError(
                    f"{self.path}: {own.source} states rank {said} for {group.key.layer}, but its matrices have "
                    f"{inner}: "
                    "it belongs to another file"
                )
            factors.rank = said if own.kind is not None and alpha is None else None
            factors.alpha = own.alpha_of(group.key.layer) if alpha is None else alpha
            factors.rank_stabilised = own.rank_stabilised and alpha is None
            if factors.rank or inner:
                self._with_rank += 1
                if factors.alpha is None:
                    self._unsaid.append(group.key.layer)
        elif kind == "oft_blocks":
            factors.alpha = alpha
        else:
            if settings.kind != "oft":
                raise MissingError(
                    f"{self.path} is an OFT adapter of PEFT without its adapter_config.json, which states how its "
                    "rotations are computed: put that file beside it"
                )
            if kind == "oft" and not own.oft["current"]:
                raise MissingError(
                    f"{self.path} is an OFT adapter of a PEFT before 0.18, which computed its rotations differently: "
                    "merge it into the network with that version, and give the merged file"
                )
            factors.rank, factors.options = own.rank, dict(own.oft)
        return factors

    def _alpha(self, group: Group) -> float | None:
        value = group.shared.get("alpha")
        if value is None:
            return None
        if value.numel() != 1:
            raise MissingError(
                f"{self.path} is damaged: the alpha of {group.key.layer} is not a number; download it again"
            )
        if not math.isfinite(float(value)):
            raise MissingError(f"{self.path} is damaged: the alpha of {group.key.layer} is {float(value)}")
        return float(value)

    def _add_factors(self, factors: Factors, group: Group, targets: Targets) -> None:
        part, weight = group.key.part, self._joint_weight(group.key.part, targets)
        self._shape(factors, weight, group)
        joint = len(targets) > 1 or targets[0].rows is not None
        dense = (
            factors.kind in ("oft_r", "oft_blocks")
            or "column_magnitude" in factors.tensors
            or (factors.decomposed and (factors.kind != "lora" or "B_bias" in factors.tensors))
            or (factors.kind == "oft" and (joint or weight.ndim != 2 or self.strength != 1.0))
            or (factors.kind == "lokr" and joint)
            or (factors.kind == "loha" and joint and "t1" in factors.tensors)
        )
        if not dense:
            for target in targets:
                if target.path in self.layers.get(part, {}):
                    raise self._twice(target.path)
                self.layers.setdefault(part, {})[target.path] = _rows_of(factors, target)
            return
        if "B_bias" in factors.tensors:
            raise MissingError(f"{self.path} is a DoRA with biases ({factors.name}), which is not read")
        made = new_weight(weight, factors, self.strength)
        for target in targets:
            if f"{target.path}.weight" in self.weights.get(part, {}):
                raise self._twice(target.path)
            rows = made if target.rows is None else made[target.rows]
            self.weights.setdefault(part, {})[f"{target.path}.weight"] = rows

    def _add_difference(self, group: Group, tensors: Mapping[str, Tensor], targets: Targets) -> None:
        """Differences of whole parameters (LyCORIS "full" and norms, ComfyUI's .diff and .diff_b)."""
        for factor, value in tensors.items():
            for target in targets:
                rows = value if target.rows is None else value[target.rows]
                name = f"{target.path}.{factor}"
                index = self._place(group.key.part, name, group.key.layer)
                if rows.numel() != index.value.numel():
                    raise self._other_shape(name, rows, index.value)
                made = index.value.float() + rows.float().reshape(index.value.shape).to(index.value.device)
                self._replace(group.key.part, name, made, group.key.layer, self.strength)

    # --- checks

    def _shape(self, factors: Factors, weight: Tensor, group: Group) -> None:
        """Bring the factors to the layer's number of axes. MissingError unless they make a weight of its shape."""
        tensors = factors.tensors
        if "mid" in tensors:  # a convolution in three steps: the first two are one with its kernel
            core, first = tensors.pop("mid").float(), tensors["A"].float().flatten(1)
            tensors["A"] = torch.einsum("ijkl,jc->ickl", core, first)
        if factors.kind == "lora":
            a, b = tensors["A"], tensors["B"]
            if a.numel() != len(a) * weight[0].numel() or b.numel() != len(weight) * len(a):
                raise self._other_shape(factors.name, a if a.numel() != len(a) * weight[0].numel() else b, weight)
            tensors["A"] = a.reshape(len(a), *weight.shape[1:])
            tensors["B"] = b.reshape(len(weight), len(a), *[1] * (weight.ndim - 2))
        else:
            try:
                new_weight(torch.zeros(weight.shape), factors)
            except (RuntimeError, ValueError, IndexError):
                raise self._other_shape(factors.name, next(iter(tensors.values())), weight) from None
        scale = group.shared.get("dora_scale")
        if scale is not None:
            by_rows = scale.shape[0] == len(weight) or scale.ndim == 1
            tensors["magnitude" if by_rows else "column_magnitude"] = scale
        for name, size in (("magnitude", len(weight)), ("column_magnitude", weight.shape[1]), ("B_bias", len(weight))):
            if name in tensors:
                if tensors[name].numel() != size:
                    raise self._other_shape(f"{factors.name} ({name})", tensors[name], weight)
                tensors[name] = tensors[name].flatten()

    def _joint_weight(self, part: str, targets: Targets) -> Tensor:
        """The weight that a name means, in the order of the file's rows."""
        values = [self._place(part, f"{target.path}.weight", target.path).value.detach().cpu() for target in targets]
        if len(targets) == 1 and targets[0].rows is None:
            return values[0]
        rows = torch.cat([target.rows for target in targets if target.rows is not None])
        joint = torch.cat(values)
        made = torch.empty_like(joint)
        made[rows] = joint
        return made

    def _place(self, part: str, name: str, layer: str) -> Place:
        index = self._places[part].get(name)
        if index is None:
            raise MissingError(
                f"{self.path} tunes {name.rpartition('.')[2]} of {layer}, which the suite's model does not have: it "
                "is an "
                "adapter of another model"
            )
        return index

    def _replace(self, part: str, name: str, value: Tensor, layer: str, strength: float) -> None:
        index = self._place(part, name, layer)
        if value.shape != index.value.shape:
            raise self._other_shape(name, value, index.value)
        base = index.value.detach()
        made = value.to(base.device)
        if strength != 1.0:
            made = base.float() + strength * (made.float() - base.float())
        made = made.to(base.dtype)
        if torch.equal(made, base):
            return
        if not index.is_parameter:
            raise MissingError(
                f"{self.path} has another {name} than the suite's model, which is a constant of the model, not a "
                "weight: it belongs to another model"
            )
        if name in self.weights.get(part, {}):
            raise MissingError(f"{self.path} is damaged: it contains {name} twice")
        self.weights.setdefault(part, {})[name] = made

    def _twice(self, layer: str) -> MissingError:
        return MissingError(f"{self.path} is damaged: it has two adapters for the layer {layer}")

    def _other_shape(self, name: str, value: Tensor, weight: Tensor) -> MissingError:
        return MissingError(
            f"{self.path} is an adapter of another model than the suite's: {name} has the shape "
            f"{tuple(value.shape)} for a layer of {tuple(weight.shape)}."
        )


def _rows_of(factors: Factors, target: Target) -> Factors:
    """A joint layer's factors for one of the layers it stands for: its rows of the output."""
    if target.rows is None:
        return factors
    by_row = {"lora": ("B", "B_bias", "magnitude"), "loha": ("w1_a", "w2_a")}[factors.kind]
    tensors = {name: value[target.rows] if name in by_row else value for name, value in factors.tensors.items()}
    return Factors(
        factors.kind, factors.name, tensors, factors.alpha, factors.rank, factors.rank_stabilised, factors.options
    )
