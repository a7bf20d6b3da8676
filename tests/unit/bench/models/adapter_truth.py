"""Adapters drawn at random, and the weights that they make of a layer's own: written out, without bench's code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tests.unit.bench.models.adapter_layers import Piece

NewWeight = Callable[[Tensor], Tensor]


@dataclass
class Layer:
    """One layer's tensors by the endings of their keys, PEFT's and kohya's, and what they make of a weight."""

    piece: Piece
    kind: str
    peft: dict[str, Tensor]
    kohya: dict[str, Tensor]
    rank: int
    new_weight: Callable[[Tensor, float], Tensor]
    """(weight, scale) -> weight, where scale is alpha / rank or what else the file says."""
    bias: Callable[[float], Tensor] | None = None
    """scale -> what is added to the layer's output beside the weight."""


@dataclass
class Draw:
    """A source of random factors of one size."""

    seed: int
    size: float = 0.5
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator) * self.size

    def one_of(self, choices: tuple[int, ...]) -> int:
        return choices[int(torch.randint(len(choices), (1,), generator=self.generator))]


def lora(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """W + scale * B A; of a convolution the first factor has its kernel."""
    a = draw(rank, *weight.shape[1:])
    b = draw(len(weight), rank, *[1] * (weight.ndim - 2))
    added = torch.einsum("or,r...->o...", b.reshape(len(weight), rank), a)
    return Layer(
        piece, "lora", {"lora_A.weight": a, "lora_B.weight": b}, {"lora_down.weight": a, "lora_up.weight": b}, rank,
        lambda old, scale: old + scale * added,
    )  # fmt: skip


def lora_with_bias(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """PEFT's lora_bias: the second factor has a bias, which is scaled as well."""
    layer, bias = lora(draw, piece, weight, rank), draw(len(weight))
    layer.peft["lora_B.bias"] = bias
    layer.bias = lambda scale: scale * bias
    return layer


def tucker(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """LoCon with lora_mid: 1 x 1, then the kernel between ranks, then 1 x 1. Other layers: a plain LoRA."""
    if weight.ndim != 4 or weight.shape[-1] == 1:
        return lora(draw, piece, weight, rank)
    first, core, last = (
        draw(rank, weight.shape[1], 1, 1),
        draw(rank, rank, *weight.shape[2:]),
        draw(len(weight), rank, 1, 1),
    )
    added = torch.einsum("or,rskl,si->oikl", last[:, :, 0, 0], core, first[:, :, 0, 0])
    files = {"lora_down.weight": first, "lora_mid.weight": core, "lora_up.weight": last}
    return Layer(piece, "lora", {}, files, rank, lambda old, scale: old + scale * added)


def dora(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """The sum's rows brought to lengths of their own."""
    plain = lora(draw, piece, weight, rank)
    lengths = 1 + draw(len(weight)).abs()

    def new(old: Tensor, scale: float) -> Tensor:
        moved = plain.new_weight(old, scale)
        norms = torch.stack([row.flatten().norm() for row in moved])
        return moved * (lengths / norms).reshape(-1, *[1] * (old.ndim - 1))

    shape = (1, len(weight), 1, 1) if weight.ndim == 4 else (len(weight),)
    by_row = lengths.reshape(len(weight), *[1] * (weight.ndim - 1))
    return Layer(
        piece, "dora", plain.peft | {"lora_magnitude_vector": lengths.reshape(shape)},
        plain.kohya | {"dora_scale": by_row}, rank, new,
    )  # fmt: skip


def column_dora(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """LyCORIS' older DoRA: each column of the input has a length of its own."""
    plain = lora(draw, piece, weight, rank)
    columns = weight.shape[1]
    lengths = 1 + draw(columns).abs()

    def new(old: Tensor, scale: float) -> Tensor:
        moved = plain.new_weight(old, scale)
        norms = torch.stack([moved[:, index].flatten().norm() for index in range(columns)])
        return moved * (lengths / norms).reshape(1, columns, *[1] * (old.ndim - 2))

    shaped = lengths.reshape(1, columns, *[1] * (weight.ndim - 2))
    return Layer(piece, "dora", {}, plain.kohya | {"dora_scale": shaped}, rank, new)


def loha(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """The product of two low-rank matrices, number by number; kernels are laid out in the second factor."""
    out, rest = len(weight), weight[0].numel()
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    a, b, c, d = draw(out, rank), draw(rank, rest), draw(out, rank), draw(rank, rest)
    added = ((a @ b) * (c @ d)).reshape(weight.shape)
    tensors = dict(zip(names, (a, b, c, d), strict=True))
    return Layer(piece, "loha", tensors, tensors, rank, lambda old, scale: old + scale * added)


def loha_tucker(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """LoHa of a convolution with cores. Other layers: a plain LoHa."""
    if weight.ndim != 4 or weight.shape[-1] == 1:
        return loha(draw, piece, weight, rank)
    out, inner = weight.shape[:2]
    tensors, halves = {}, []
    for number in ("1", "2"):
        core, a, b = draw(rank, rank, *weight.shape[2:]), draw(rank, out), draw(rank, inner)
        tensors |= {f"hada_t{number}": core, f"hada_w{number}_a": a, f"hada_w{number}_b": b}
        halves.append(torch.einsum("rskl,ro,si->oikl", core, a, b))
    added = halves[0] * halves[1]
    return Layer(piece, "loha", tensors, tensors, rank, lambda old, scale: old + scale * added)


def lokr(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """Kronecker product: each number of the first matrix times the whole second; either may be a product itself."""
    out, inner, rest = len(weight), weight.shape[1], math.prod(weight.shape[2:])
    rows = next(one for one in (4, 2, 3, 1) if out % one == 0)
    columns = next(one for one in (2, 4, 3, 1) if inner % one == 0)
    full = draw.one_of((0, 1, 2))
    small = draw(rows, columns)
    tensors: dict[str, Tensor] = {"lokr_w1": small}
    if full == 1:
        a, b = draw(rows, rank), draw(rank, columns)
        small, tensors = a @ b, {"lokr_w1_a": a, "lokr_w1_b": b}
    if full == 2:
        large = draw(out // rows, inner // columns, *weight.shape[2:])
        tensors["lokr_w2"] = large
    else:
        a, b = draw(out // rows, rank), draw(rank, inner // columns * rest)
        tensors |= {"lokr_w2_a": a, "lokr_w2_b": b}
        large = (a @ b).reshape(out // rows, inner // columns, *weight.shape[2:])
    added = torch.cat([torch.cat([number * large for number in row], dim=1) for row in small], dim=0)
    known = 0 if full == 2 else rank  # without a product there is no rank, and LyCORIS no scale
    return Layer(piece, "lokr", tensors, tensors, known, lambda old, scale: old + scale * added)


def lokr_tucker(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """LoKr of a convolution with a core in its second matrix. Other layers: a plain LoKr."""
    if weight.ndim != 4 or weight.shape[-1] == 1:
        return lokr(draw, piece, weight, rank)
    out, inner = weight.shape[:2]
    small = draw(2, 2)
    core, a, b = draw(rank, rank, *weight.shape[2:]), draw(rank, out // 2), draw(rank, inner // 2)
    large = torch.einsum("rskl,ro,si->oikl", core, a, b)
    added = torch.cat([torch.cat([number * large for number in row], dim=1) for row in small], dim=0)
    tensors = {"lokr_w1": small, "lokr_t2": core, "lokr_w2_a": a, "lokr_w2_b": b}
    return Layer(piece, "lokr", tensors, tensors, rank, lambda old, scale: old + scale * added)


def rotated(draw: Draw, piece: Piece, weight: Tensor, rank: int, rescaled: bool = False) -> Layer:
    """OFT of kohya and LyCORIS: blocks of the output's rows are rotated; alpha (here `rank`) bounds the angle."""
    del rank
    size = next(one for one in (4, 2, 3, 1) if len(weight) % one == 0)
    count = len(weight) // size
    raw = draw(count, size, size)
    skew = raw - raw.transpose(1, 2)
    one = torch.eye(size)
    turns = [(one + block) @ torch.linalg.inv(one - block) for block in skew]
    stretch = 1 + draw(len(weight)) if rescaled else torch.ones(len(weight))

    def new(old: Tensor, scale: float) -> Tensor:
        del scale
        flat = old.reshape(len(old), -1)
        parts = [turn.T @ flat[index * size : (index + 1) * size] for index, turn in enumerate(turns)]
        return (torch.cat(parts) * stretch[:, None]).reshape(old.shape)

    tensors = {"oft_blocks": raw}
    if rescaled:
        tensors["rescale"] = stretch.reshape(-1, *[1] * (weight.ndim - 1))
    return Layer(piece, "oft", {}, tensors, 0, new)


def rescaled(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """The same with a factor for each row."""
    return rotated(draw, piece, weight, rank, rescaled=True)


def rotated_input(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """PEFT's OFT of linear layers: blocks of the input are rotated, by Cayley's transform, exact."""
    del rank
    inner = weight.shape[1]
    size = next(one for one in (4, 2, 3, 1) if inner % one == 0)
    upper = [(i, j) for i in range(size) for j in range(i + 1, size)]
    vector = draw(inner // size, len(upper))
    turns = []
    for values in vector:
        skew = torch.zeros(size, size)
        for (i, j), value in zip(upper, values, strict=True):
            skew[i, j], skew[j, i] = value, -value
        turns.append((torch.eye(size) - skew) @ torch.linalg.inv(torch.eye(size) + skew))

    def new(old: Tensor, scale: float) -> Tensor:
        del scale
        columns = [old[:, index * size : (index + 1) * size] @ turn.T for index, turn in enumerate(turns)]
        return torch.cat(columns, dim=1)

    return Layer(piece, "oft", {"oft_R.weight": vector}, {}, 0, new)


def rotated_before(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """PEFT's OFT before 0.14: `rank` blocks of the output's rows, with half of the difference to the transpose."""
    count = next(one for one in (rank, 2, 1) if len(weight) % one == 0)
    size = len(weight) // count
    raw = draw(count, size, size)
    one = torch.eye(size)
    turns = [(one - half) @ torch.linalg.inv(one + half) for half in 0.5 * (raw - raw.transpose(1, 2))]

    def new(old: Tensor, scale: float) -> Tensor:
        del scale
        flat = old.reshape(len(old), -1)
        parts = [turn.T @ flat[index * size : (index + 1) * size] for index, turn in enumerate(turns)]
        return torch.cat(parts).reshape(old.shape)

    return Layer(piece, "oft_r", {"oft_r": raw}, {}, 0, new)


def full(draw: Draw, piece: Piece, weight: Tensor, rank: int) -> Layer:
    """The whole difference (LyCORIS "full", ComfyUI)."""
    del rank
    added = draw(*weight.shape)
    return Layer(piece, "diff", {}, {"diff": added}, 0, lambda old, scale: old + added)


def joint_weight(piece: Piece, weights: Mapping[str, Tensor]) -> Tensor:
    """The weight that a file's layer means, in its own order of rows."""
    joined = torch.cat([weights[f"{target}.weight"] for target in piece.targets])
    if not piece.swapped:
        return joined
    first, second = joined.chunk(2)
    return torch.cat([second, first])


def split(piece: Piece, weight: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A joint weight in the order of a file back to the layers in diffusers."""
    if piece.swapped:
        first, second = weight.chunk(2)
        weight = torch.cat([second, first])
    sizes = [len(weights[f"{target}.weight"]) for target in piece.targets]
    return {f"{target}.weight": part for target, part in zip(piece.targets, weight.split(sizes), strict=True)}
