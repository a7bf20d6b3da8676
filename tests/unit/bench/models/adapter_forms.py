"""Adapters in the forms people publish, of every family, and what becomes of each.

`python benchmarks/checkpoint_forms.py adapters > docs/checkpoint_forms_adapters.md` writes the table.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import MissingError
from tests.unit.bench.models import adapter_truth as truth
from tests.unit.bench.models.adapter_layers import DIFFUSERS, ENCODERS, LAST, NORMS, PART, Piece, sgm
from tests.unit.bench.models.adapter_layouts import BARE, LAYOUTS, Layout, peft, saved, scale_of
from tests.unit.bench.models.adapter_world import Case, World
from tests.unit.bench.models.families import FAMILIES, has_turn

Make = Callable[[World, Path], tuple[Path, Case]]
KOHYA, PEFT = LAYOUTS[0], next(layout for layout in LAYOUTS if layout.name == "PEFT")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class Form:
    """One form that is read exactly: how it is written, and in which families there is such a thing."""

    name: str
    make: Make
    families: tuple[str, ...] = FAMILIES
    strength: float = 1.0


def layers_of(
    world: World, kind: Callable[..., truth.Layer], pieces: Sequence[Piece], rank: Callable[[Piece], int]
) -> list[truth.Layer]:
    draw = truth.Draw(3, 0.35 if kind in (truth.loha, truth.loha_tucker) else 0.2)  # of four factors, not of two
    return [kind(draw, piece, truth.joint_weight(piece, world.weights), rank(piece)) for piece in pieces]


def attention(family: str) -> list[Piece]:
    return [
        piece
        for piece in DIFFUSERS[family]
        if re.search("attn|attention", piece.name) and piece.name.endswith(ATTENTION)
    ]


def form(
    layout: Layout,
    kind: Callable[..., truth.Layer] = truth.lora,
    rank: Callable[[Piece], int] = lambda piece: 2,
    alpha: Callable[[Piece, int], float | None] = lambda piece, rank: 4.0,
    pieces: Callable[[str], Sequence[Piece]] | None = None,
) -> Make:
    """A file of this layout and kind; layers are those of the layout unless `pieces` says which."""

    def make(world: World, path: Path) -> tuple[Path, Case]:
        chosen = pieces(world.family) if pieces else layout.pieces[world.family]
        layers = layers_of(world, kind, chosen, rank)
        alphas = {layer.piece.name: None if layout.name in BARE else alpha(layer.piece, layer.rank) for layer in layers}
        scales = {layer.piece.name: scale_of(layout, layers, layer, alphas[layer.piece.name]) for layer in layers}
        return layout.write(path, world.family, layers, alphas), Case(layers, alphas, scales)

    return make


def by_name(piece: Piece) -> int:
    return 1 + len(piece.name) % 4


def half_precision(world: World, path: Path) -> tuple[Path, Case]:
    from safetensors.torch import load_file

    file, case = form(KOHYA)(world, path)
    saved(file, {key: value.half() for key, value in load_file(file).items()})
    halved = []
    for layer in case.layers:
        a, b = (value.half().float() for value in layer.peft.values())
        added = torch.einsum("or,r...->o...", b.flatten(1), a)
        halved.append(replace(layer, new_weight=lambda old, scale, added=added: old + scale * added))
    return file, replace(case, layers=halved)


def with_whole(write: Callable[[World, Path, Case, dict[str, Tensor]], Path]) -> Make:
    """A LoRA of attention with the last layer's whole weights beside it."""

    def make(world: World, path: Path) -> tuple[Path, Case]:
        name = LAST[world.family]
        draw = truth.Draw(5, 0.3)
        own = {key: value for key, value in world.weights.items() if key.rpartition(".")[0] == name}
        whole = {key: value + draw(*value.shape) for key, value in own.items()}
        _, case = form(PEFT, pieces=attention)(world, path)
        case = replace(case, whole=whole)
        return write(world, path, case, whole), case

    return make


def _tensors(case: Case, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{layer.piece.name}.{key}": value for layer in case.layers for key, value in layer.peft.items()}


def modules_to_save(world: World, path: Path, case: Case, whole: dict[str, Tensor]) -> Path:
    prefix = "base_model.model."
    saved(
        path / "adapter_model.safetensors",
        _tensors(case, prefix) | {prefix + key: value for key, value in whole.items()},
    )
    return path


def beside_factors(world: World, path: Path, case: Case, whole: dict[str, Tensor]) -> Path:
    """diffusers' layout; alpha 4 of rank 2 as keys."""
    part = PART[world.family]
    alphas = {f"{part}.{layer.piece.name}.alpha": torch.tensor(4.0) for layer in case.layers}
    tensors = _tensors(case, f"{part}.") | alphas | {f"{part}.{key}": value for key, value in whole.items()}
    return saved(path / "beside" / "x.safetensors", tensors)


def differences(world: World, path: Path, case: Case, whole: dict[str, Tensor]) -> Path:
    """kohya's factors with ComfyUI's .diff and .diff_b."""
    tensors = {}
    for layer in case.layers:
        stem = f"lora_unet_{layer.piece.name.replace('.', '_')}"
        tensors |= {f"{stem}.{key}": value for key, value in layer.kohya.items()} | {f"{stem}.alpha": torch.tensor(4.0)}
    for key, value in whole.items():
        layer, _, name = key.rpartition(".")
        tensors[f"lora_unet_{layer}.{'diff' if name == 'weight' else 'diff_b'}"] = value - world.weights[key]
    return saved(path / "diff" / "x.safetensors", tensors)


def dump(prefix: str) -> Callable[[World, Path, Case, dict[str, Tensor]], Path]:
    """The whole state of a PeftModel: base layers, and factors under the adapter's name."""

    def write(world: World, path: Path, case: Case, whole: dict[str, Tensor]) -> Path:
        tuned = {layer.piece.name for layer in case.layers}
        tensors = {}
        for key, value in (world.weights | whole).items():
            layer, _, name = key.rpartition(".")
            tensors[f"{prefix}{layer}.base_layer.{name}" if layer in tuned else prefix + key] = value
        for layer in case.layers:
            a, b = layer.peft["lora_A.weight"], layer.peft["lora_B.weight"]
            tensors |= {f"{prefix}{layer.piece.name}.lora_A.default.weight": a}
            tensors |= {f"{prefix}{layer.piece.name}.lora_B.default.weight": 2 * b}  # alpha is its rank
        return saved(path / "dump" / "x.safetensors", tensors)

    return write


def norms(world: World, path: Path) -> tuple[Path, Case]:
    """LyCORIS' normalisations: w_norm and b_norm are added."""
    draw, whole, tensors = truth.Draw(6, 0.5), {}, {}
    _, case = form(KOHYA, pieces=attention)(world, path)
    for layer in case.layers:
        stem = f"lora_unet_{layer.piece.name.replace('.', '_')}"
        tensors |= {f"{stem}.{key}": value for key, value in layer.kohya.items()} | {f"{stem}.alpha": torch.tensor(4.0)}
    for norm in NORMS[world.family]:
        for name, ending in (("weight", "w_norm"), ("bias", "b_norm")):
            if (base := world.weights.get(f"{norm}.{name}")) is not None:
                added = draw(*base.shape)
                tensors[f"lora_unet_{norm.replace('.', '_')}.{ending}"] = added
                whole[f"{norm}.{name}"] = base + added
    return saved(path / "norm" / "x.safetensors", tensors), replace(case, whole=whole)


def text(layout: str, alone: bool = False) -> Make:
    """Text encoders with (or `alone`, without) the network's attention, in kohya's or diffusers' keys."""

    def make(world: World, path: Path) -> tuple[Path, Case]:
        network, case = form(KOHYA if layout == "kohya" else LAYOUTS[8], pieces=attention)(world, path)
        from safetensors.torch import load_file

        tensors = {} if alone else load_file(network)
        draw, added = truth.Draw(8, 1.0), {}
        for part, number, layer, name in ENCODERS[world.family]:
            weight = getattr(world.plain.pipeline, part).get_submodule(layer).weight
            a, b = draw(2, weight.shape[1]), draw(len(weight), 2)
            added[part, layer] = 2.0 * b @ a
            first, second = ("lora_down", "lora_up") if layout == "kohya" else ("lora_A", "lora_B")
            stem = f"lora_{number}_{name.replace('.', '_')}" if layout == "kohya" else f"{part}.{name}"
            if layout == "to_q_lora":
                stem, first, second = f"{part}.{name.replace('q_proj', 'to_q_lora')}", "down", "up"
            tensors |= {f"{stem}.{first}.weight": a, f"{stem}.{second}.weight": b, f"{stem}.alpha": torch.tensor(4.0)}
        if alone:
            case = replace(case, layers=[])
        return saved(path / "text" / "x.safetensors", tensors), replace(case, text=added)

    return make


OFT = replace(PEFT, write=peft(r=0, oft_block_size=4, coft=False, block_share=False, use_cayley_neumann=False))
OLD_OFT = replace(PEFT, write=peft(r=2, coft=False, block_share=False))


def linear(family: str) -> list[Piece]:
    """Linear layers of attention and feed-forward networks, alike in all families."""
    named = [one for one in DIFFUSERS[family] if one.name.endswith((*ATTENTION, "ff.net.2"))]
    return [one for one in named if re.search("attn|attention|ff", one.name)]


def convolutions(family: str) -> list[Piece]:
    return [one for one in DIFFUSERS[family] if "conv" in one.name or "attn1" in one.name]


def differs(piece: Piece, rank: int) -> float:
    return 3.0 if piece.name.endswith(("to_q", "qkv")) else 1.0


def half_said(piece: Piece, rank: int) -> float | None:
    return None if sum(map(ord, piece.name)) % 2 else 1.0


WITH_ENCODERS = tuple(family for family, found in ENCODERS.items() if found)
FORMS = (
    *(Form(layout.name, form(layout), tuple(layout.pieces)) for layout in LAYOUTS),
    Form("kohya, ranks and alphas by layer", form(KOHYA, rank=by_name, alpha=differs)),
    Form("kohya, the authors' names, ranks and alphas by layer", form(LAYOUTS[1], rank=by_name, alpha=differs)),
    Form("kohya, alpha for some layers only", form(KOHYA, alpha=half_said)),
    Form("kohya, no alpha, ranks by layer", form(KOHYA, rank=by_name, alpha=lambda piece, rank: None)),
    Form("kohya, fp16", half_precision),
    Form("kohya, lora_scale 0.5", form(KOHYA), strength=0.5),
    Form("PEFT, rank_pattern and alpha_pattern", form(PEFT, rank=by_name, alpha=differs)),
    Form("PEFT, lora_bias", form(PEFT, truth.lora_with_bias)),
    Form("LoCon with lora_mid (Tucker)", form(KOHYA, truth.tucker), ("sd", "sdxl")),
    Form("DoRA, PEFT", form(PEFT, truth.dora)),
    Form("DoRA, kohya (dora_scale by rows)", form(KOHYA, truth.dora)),
    Form("DoRA, kohya (dora_scale by columns)", form(KOHYA, truth.column_dora)),
    Form("LoHa, kohya", form(KOHYA, truth.loha, rank=by_name)),
    Form("LoHa, the authors' names", form(LAYOUTS[1], truth.loha, rank=by_name)),
    Form("LoHa with Tucker cores, kohya", form(KOHYA, truth.loha_tucker), ("sd", "sdxl")),
    Form("LoHa, PEFT", form(PEFT, truth.loha)),
    Form("LoKr, kohya", form(KOHYA, truth.lokr)),
    Form("LoKr, the authors' names", form(LAYOUTS[1], truth.lokr)),
    Form("LoKr with Tucker cores, kohya", form(KOHYA, truth.lokr_tucker, pieces=convolutions), ("sd", "sdxl")),
    Form("LoKr, PEFT", form(PEFT, truth.lokr)),
    Form("OFT, kohya and LyCORIS (oft_blocks)", form(KOHYA, truth.rotated, alpha=lambda piece, rank: 1e3)),
    Form("OFT, LyCORIS with rescale", form(KOHYA, truth.rescaled, alpha=lambda piece, rank: None)),
    Form("OFT, PEFT", form(OFT, truth.rotated_input, pieces=linear)),
    Form("OFT, PEFT before 0.14 (oft_r)", form(OLD_OFT, truth.rotated_before, pieces=linear)),
    Form("LyCORIS full differences (.diff)", form(KOHYA, truth.full)),
    Form("LoRA with modules_to_save, PEFT", with_whole(modules_to_save)),
    Form("LoRA with whole weights beside it", with_whole(beside_factors)),
    Form("LoRA with .diff and .diff_b", with_whole(differences)),
    Form("LoRA with normalisations (w_norm, b_norm)", norms, tuple(name for name, found in NORMS.items() if found)),
    Form("whole PeftModel dump", with_whole(dump("base_model.model."))),
    Form("whole dump of a network with an adapter", with_whole(dump(""))),
    Form("with text encoders, kohya", text("kohya"), WITH_ENCODERS),
    Form("with text encoders, diffusers", text("diffusers"), WITH_ENCODERS),
    Form("with text encoders, diffusers before 0.18 (to_q_lora)", text("to_q_lora"), ("sd",)),
    Form("text encoders alone, kohya", text("kohya", alone=True), ("sdxl", "sd3", "flux")),
)  # fmt: skip


def sdxl_network() -> Any:
    """A UNet with the blocks of Stable Diffusion XL (two layers each, deeper transformers), and tiny widths."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(2)
    return UNet2DConditionModel(
        sample_size=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(8, 16, 16),
        layers_per_block=2, cross_attention_dim=16, attention_head_dim=(1, 2, 2), norm_num_groups=4,
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=8 + 6 * 4,
        transformer_layers_per_block=(1, 2, 3), use_linear_projection=True,
    )  # fmt: skip


def real_blocks(world: World) -> list[Piece]:
    """All linear layers and convolutions within the blocks, by the authors' names."""
    inside = ("down_blocks.", "mid_block.", "up_blocks.")
    layers = [key for key, value in world.weights.items() if value.ndim > 1 and key.endswith(".weight")]
    names = [key.removesuffix(".weight") for key in layers]
    return [Piece(sgm(name, 2), (name,)) for name in names if name.startswith(inside)]


def of_sdxl(root: Path) -> Iterator[tuple[str, str, str]]:
    """kohya's files for Stable Diffusion XL, whose blocks have other numbers than the tiny network's."""
    world = World("sdxl", root, sdxl_network())
    pieces = real_blocks(world)
    kinds = {"LoCon of all blocks": truth.lora, "LoHa of all blocks": truth.loha}
    for name, kind in kinds.items():
        one = Form(name, form(LAYOUTS[1], kind, by_name, differs, lambda family: pieces))
        yield f"kohya, {name} of the published SDXL", "sdxl", outcome(world, one, root / name[:4])


def rows(
    root: Path, families: tuple[str, ...] = FAMILIES, *, exhaustive: bool = True
) -> Iterator[tuple[str, str, str]]:
    """(form, family, "exact (error)" or what went wrong) for every form that is to be read, or has a turn."""
    if "sdxl" in families:
        yield from of_sdxl(root / "blocks")
    for family in families:
        world = World(family, root / family)
        for index, one in enumerate(FORMS):
            if family not in one.families or not (exhaustive or has_turn(index, family, one.families)):
                continue
            yield one.name, family, outcome(world, one, root / family / f"form{index}")


def outcome(world: World, one: Form, path: Path) -> str:
    file, case = one.make(world, path)
    if one.strength != 1.0:
        case = replace(case, scales={name: scale * one.strength for name, scale in case.scales.items()})
    try:
        error, movement = world.compare(file, case, one.strength)
    except MissingError as wrong:
        return f"refused: {str(wrong).replace(str(file), 'X')}"
    if movement < 0.1:
        return f"moves too little to tell ({movement:.2g})"
    error /= movement
    return f"exact ({error:.1g})" if error <= 1e-5 else f"loaded, wrong by {error:.2g} of the movement"


HEAD = """# Adapters: which forms are read

Written by `python benchmarks/checkpoint_forms.py adapters > docs/checkpoint_forms_adapters.md`. Every form is written
for a tiny network of the family, loaded as tuned weights, and compared with weights merged by hand, `W + alpha / rank *
B A` and its relatives (not with diffusers' loader, which drops alphas that differ by layer). "exact" gives the largest
difference of a prediction, as a part of what the adapter moves it (which is at least 0.1). The base network is the same
to the last bit after each of them, those that are refused included: loading asserts it.
"""


def page() -> str:
    """The tables as Markdown."""
    from tests.unit.bench.models.refused_adapters import refusals

    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(Path(folder)))
        refused = list(refusals(Path(folder) / "refused"))
    cells: dict[str, dict[str, str]] = {}
    for name, family, said in found:
        cells.setdefault(name, {})[family] = said
    lines = [HEAD, "| form | " + " | ".join(FAMILIES) + " |", "|" + " --- |" * (len(FAMILIES) + 1)]
    lines += [
        f"| {name} | " + " | ".join(row.get(family, "-") for family in FAMILIES) + " |" for name, row in cells.items()
    ]
    lines += ["", "## Refused", "", "`X` is the path that was given.", ""]
    lines += ["| form | family | sentence |", "| --- | --- | --- |"]
    lines += [f"| {one.name} | {one.family} | {said.replace('|', '/')} |" for one, said in refused]
    return "\n".join(lines) + "\n"
