"""Adapters drawn at random, in every layout, kind and family: what the product computes is what is merged by hand."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from bench.models.adapters.install import install
from bench.models.adapters.verify import AdapterError
from tests.unit.bench.models import adapter_truth as truth
from tests.unit.bench.models.adapter_layouts import BARE, LAYOUTS, Layout, scale_of
from tests.unit.bench.models.adapter_world import Case, World
from tests.unit.bench.models.families import FAMILIES

KINDS = {
    "lora": truth.lora, "lora_bias": truth.lora_with_bias, "mid": truth.tucker, "dora": truth.dora,
    "column dora": truth.column_dora, "loha": truth.loha, "loha tucker": truth.loha_tucker, "lokr": truth.lokr,
    "oft": truth.rotated, "diff": truth.full,
}  # fmt: skip
IN_KOHYA = ("lora", "lora", "lora", "mid", "dora", "column dora", "loha", "loha tucker", "lokr", "oft", "diff")
IN_PEFT = ("lora", "lora", "lora_bias", "dora", "loha", "lokr")
FILES, FEW = 48, 12  # of each family, and where not everything is to be tried


def kind_for(layout: Layout, choose: random.Random) -> str:
    if not layout.peft:
        return choose.choice(IN_KOHYA)
    if layout.name.startswith(("PEFT", "ComfyUI, d")) and "header" not in layout.name:
        return choose.choice(IN_PEFT if layout.name.startswith("PEFT") else ("lora", "dora", "loha"))
    return "lora"


def draw_case(world: World, layout: Layout, number: int, only: str | None = None) -> Case:
    """Layers, kinds, ranks and alphas of one file; of one kind of adapter with `only`."""
    choose = random.Random(number)
    pieces = [one for one in layout.pieces[world.family] if choose.random() < 0.5]
    if len(pieces) < 4:  # too few to move the prediction by much
        pieces = list(layout.pieces[world.family])
    kind = only or kind_for(layout, choose)
    mixed = not layout.peft and only is None and choose.random() < 0.3
    same = layout.name.startswith("DanceGRPO")
    draw = truth.Draw(number, size=0.5)
    rank = choose.choice((1, 2, 3, 4))
    layers, alphas = [], {}
    for piece in pieces:
        own = choose.choice(IN_KOHYA) if mixed else kind
        make = KINDS[own]
        layer = make(
            draw, piece, truth.joint_weight(piece, world.weights), rank if same else choose.choice((1, 2, 3, 4))
        )
        layers.append(layer)
        said = layout.said or choose.random() < 0.7
        alphas[piece.name] = None if layout.name in BARE or not said else choose.choice((0.5, 1.0, 2.0, 3.0))
        if layer.kind == "oft":
            alphas[piece.name] = None if alphas[piece.name] is None else 1e3  # a bound that nothing reaches
    if same or layout.name in BARE:
        alphas = dict.fromkeys(alphas, next(iter(alphas.values())))
    scales = {layer.piece.name: scale_of(layout, layers, layer, alphas[layer.piece.name]) for layer in layers}
    return Case(layers, alphas, scales)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    root = tmp_path_factory.mktemp("worlds")
    return {family: World(family, root / family) for family in FAMILIES}


def numbers(family: str, exhaustive: bool) -> range:
    """The files of a family: where not everything is to be tried, others in each, so that together they have it all."""
    first = FEW * FAMILIES.index(family)
    return range(FILES) if exhaustive else range(first, first + FEW)


def drawn(world: World, number: int) -> tuple[Layout, Case]:
    layouts = [layout for layout in LAYOUTS if world.family in layout.pieces]
    layout = layouts[number % len(layouts)]
    return layout, draw_case(world, layout, 1000 * FAMILIES.index(world.family) + number)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_is_what_was_merged_by_hand(
    worlds: dict[str, World], tmp_path: Path, family: str, exhaustive: bool
) -> None:
    world = worlds[family]
    for number in numbers(family, exhaustive):
        layout, case = drawn(world, number)
        path = layout.write(tmp_path / str(number), family, case.layers, case.alphas)
        error, movement = world.compare(path, case)
        said = f"{layout.name} {[(layer.kind, layer.piece.name, layer.rank) for layer in case.layers]} {case.alphas}"
        assert movement >= 0.1, said
        assert error <= 1e-5 * max(movement, world.size), f"{error / movement:.2g} of the movement: {said}"


@pytest.mark.slow
def test_the_files_have_every_layout_and_kind(worlds: dict[str, World], exhaustive: bool) -> None:
    kinds = {family: set[str]() for family in FAMILIES}
    layouts = set()
    for family, world in worlds.items():
        for number in numbers(family, exhaustive):
            layout, case = drawn(world, number)
            layouts.add(layout.name)
            kinds[family] |= {layer.kind for layer in case.layers}
    assert layouts == {layout.name for layout in LAYOUTS}
    for found in kinds.values() if exhaustive else [set.union(*kinds.values())]:
        assert found >= {"lora", "dora", "loha", "lokr", "oft", "diff"}


@pytest.mark.slow
def test_alpha_that_one_layer_ignores_is_caught(
    worlds: dict[str, World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault planted in what installs: one layer of the file acts as if its alpha were its rank."""
    world, layout = worlds["sd"], LAYOUTS[0]
    case = draw_case(world, layout, 3, only="lora")
    case.alphas = dict.fromkeys(case.alphas, 0.5)
    path = layout.write(tmp_path, "sd", case.layers, case.alphas)

    def faulty(network: object, adapter: str, change: object) -> None:
        install(network, adapter, change)  # type: ignore[arg-type]
        layer = next(one for one in network.modules() if adapter in getattr(one, "scaling", {}))  # type: ignore[attr-defined]
        layer.scaling[adapter] = 1.0

    monkeypatch.setattr("bench.models.lora.install", faulty)
    with pytest.raises(AdapterError, match=re.escape("the adapter was not installed as it was read")):
        world.model().add_network("x", path)
