"""An adapter's factors for one layer, and the weight that they make of the layer's own: the formulas, spelled out.

PEFT's classes do the work at run time; what is here says what they must come to (`verify`), and makes the weights that
no class of PEFT has: rotations of the output (LyCORIS, kohya), magnitudes of the input's columns, joint layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

TITLES = {
    "lora": "LoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "oft": "OFT",
    "oft_r": "OFT",
    "oft_blocks": "OFT",
    "diff": "weight difference",
}
"""Kinds of adapters by their names in the literature."""


@dataclass(slots=True)
class Factors:
    """What a file says about one of its layers: tensors by the factors' names, alpha (None: unsaid), and settings.

    `rank` is that of the settings beside the file, needed where the factors do not show it. `options` are the settings
    of OFT. `name` is the layer's name in the file.
    """

    kind: str
    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    alpha: float | None = None
    rank: int | None = None
    rank_stabilised: bool = False
    options: dict[str, float | bool] = field(default_factory=dict)

    @property
    def inner_rank(self) -> int | None:
        """The rank that the factors show; None for full Kronecker factors and rotations, which have none."""
        tensors = self.tensors
        if self.kind == "lora":
            return len(tensors["A"])
        if self.kind == "loha":
            return int(tensors["w1_b"].shape[0])
        if self.kind == "lokr":
            return next((len(tensors[name]) for name in ("w1_b", "w2_b") if name in tensors), None)
        return None

    @property
    def decomposed(self) -> bool:
        """Whether magnitudes are set apart from directions (DoRA, arXiv 2402.09353)."""
        return "magnitude" in self.tensors or "column_magnitude" in self.tensors

    @property
    def scale(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) (rank-stabilised, arXiv 2312.03732); 1 where alpha is not said."""
        rank = self.rank or self.inner_rank
        if rank is None or self.alpha is None:  # two full Kronecker factors have no rank, and LyCORIS no scale
            return 1.0
        return self.alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


@dataclass(frozen=True, slots=True)
class Change:
    """What an adapter changes in one network: factors by the layers' paths, whole parameters by their names.

    `strength` multiplies each layer's own scale.
    """

    layers: Mapping[str, Factors]
    weights: Mapping[str, Tensor]
    strength: float = 1.0


def difference(weight: Tensor, factors: Factors) -> Tensor:
    """What is added to a weight, float32 in its shape: scale * B A and its relatives. Not for rotations."""
    tensors = {name: value.float() for name, value in factors.tensors.items()}
    if factors.kind == "lora":
        made = tensors["B"].flatten(1) @ tensors["A"].flatten(1)
    elif factors.kind == "loha":  # Hadamard product of two products, arXiv 2108.06098
        made = _product(tensors, "w1", "t1") * _product(tensors, "w2", "t2")
    elif factors.kind == "lokr":  # Kronecker product, arXiv 2212.10650
        first, second = (_kronecker_part(tensors, name) for name in ("w1", "w2"))
        # `torch.kron` fails on what an einsum of a Tucker core leaves in another order in memory.
        made = torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second.contiguous())
    else:
        raise ValueError(f"{factors.kind} is no sum")
    added: Tensor = factors.scale * made.reshape(weight.shape)
    return added


def new_weight(weight: Tensor, factors: Factors, strength: float = 1.0) -> Tensor:
    """The weight that a layer's own becomes, float32; `strength` 0 leaves it as it is, 1 is what was trained."""
    old = weight.float()
    if factors.kind == "oft":
        made = _rotated_input(old, factors)
    elif factors.kind in ("oft_r", "oft_blocks"):
        made = _rotated_output(old, factors)
    elif factors.kind == "diff":
        made = old + factors.tensors["weight"].float().reshape(old.shape)
    else:
        made = old + difference(weight, factors)
        if factors.decomposed:
            made = _with_magnitude(made, factors.tensors)
    return made if strength == 1.0 else old + strength * (made - old)


def _with_magnitude(weight: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """Each row (PEFT, LyCORIS) or, in LyCORIS' older files, each column of the input brought to its magnitude."""
    if "magnitude" in tensors:
        norm, shape = weight.flatten(1).norm(dim=1), [len(weight)] + [1] * (weight.ndim - 1)
    else:
        norm = weight.transpose(0, 1).flatten(1).norm(dim=1)
        shape = [1, weight.shape[1]] + [1] * (weight.ndim - 2)
    magnitude = tensors.get("magnitude", tensors.get("column_magnitude"))
    assert magnitude is not None
    decomposed: Tensor = weight * (magnitude.float().flatten() / norm).reshape(shape)
    return decomposed


def _product(tensors: dict[str, Tensor], name: str, core: str) -> Tensor:
    """The product of two factors; with a core (Tucker decomposition of a convolution) of three."""
    a, b = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if core not in tensors:
        return a @ b
    return torch.einsum("ijkl,ip,jr->prkl", tensors[core], a, b)


def _kronecker_part(tensors: dict[str, Tensor], name: str) -> Tensor:
    return tensors[name] if name in tensors else _product(tensors, name, f"t{name[-1]}")


def rotation_of_vector(vector: Tensor, size: int, terms: int | None) -> Tensor:
    """Rotations [B, size, size] from the values above the diagonal [B, size (size - 1) / 2], by Cayley's transform.

    With `terms` its Neumann series is cut there, as PEFT does by default.
    """
    upper = torch.triu_indices(size, size, 1)
    skew = vector.new_zeros(len(vector), size, size)
    skew[:, upper[0], upper[1]] = vector
    skew = skew - skew.transpose(1, 2)
    one = torch.eye(size).expand_as(skew)
    if terms is None:
        return torch.as_tensor(torch.linalg.solve(one + skew, one - skew, left=False))
    if terms < 2:
        return one
    made, last = one + 2 * skew, max(terms, 4) - 1
    for power in range(2, last + 1 if terms > 2 else 0):
        made = made + (2 if power < last else 1) * torch.matrix_power(skew, power)
    return made


def _rotated_input(weight: Tensor, factors: Factors) -> Tensor:
    """PEFT's OFT: the input is rotated in blocks before the layer."""
    vector = factors.tensors["R"].float()
    size = round((1 + math.sqrt(1 + 8 * vector.shape[1])) / 2)
    if factors.options.get("coft"):
        vector = _within(vector, float(factors.options["eps"]) / math.sqrt(len(vector)), factor=math.sqrt(2))
    terms = int(factors.options["num_cayley_neumann_terms"]) if factors.options["use_cayley_neumann"] else None
    rotation = rotation_of_vector(vector, size, terms)
    flat = weight.flatten(1)
    blocks = flat.reshape(len(flat), -1, size)
    turned = torch.einsum("orc,rkc->ork", blocks, rotation.expand(blocks.shape[1], size, size))
    return turned.reshape(weight.shape)


def _within(values: Tensor, limit: float, factor: float = 1.0) -> Tensor:
    """Constrained OFT (arXiv 2306.07280): blocks whose norm (times `factor`) is above the limit are drawn to it."""
    norm = factor * values.flatten(1).norm(dim=1).reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(norm <= limit, values, values * (limit / norm))


def _rotated_output(weight: Tensor, factors: Factors) -> Tensor:
    """OFT of kohya, of LyCORIS (Diag-OFT) and of PEFT before 0.14: the output's rows are rotated in blocks."""
    rows = len(weight)
    if factors.kind == "oft_blocks":
        blocks = factors.tensors["blocks"].float()
        skew = blocks - blocks.transpose(1, 2)
        limit = (factors.alpha or 0.0) * rows
        if limit > 0:
            skew = skew * min(1.0, limit / max(float(skew.norm()), 1e-8))
        one = torch.eye(blocks.shape[1]).expand_as(skew)
        rotation = (one + skew) @ torch.linalg.inv(one - skew)
        repeats = 1
    else:
        blocks = factors.tensors["r"].float()
        repeats = (factors.rank or len(blocks)) if len(blocks) == 1 else 1
        if factors.options.get("coft"):
            size = math.ceil(rows / (factors.rank or len(blocks)))
            blocks = _within(blocks, float(factors.options["eps"]) * size * size / math.sqrt(len(blocks)))
        skew = 0.5 * (blocks - blocks.transpose(1, 2))
        one = torch.eye(blocks.shape[1]).expand_as(skew)
        rotation = (one - skew) @ torch.linalg.inv(one + skew)
    joint: Tensor = torch.block_diag(*rotation, *list(rotation) * (repeats - 1))[:rows, :rows]
    made = (joint.T @ weight.flatten(1)).reshape(weight.shape)
    if "rescale" in factors.tensors:
        made = made * factors.tensors["rescale"].float().reshape(rows, *[1] * (weight.ndim - 1))
    return made
