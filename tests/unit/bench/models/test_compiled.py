"""Compiled networks: how often they are compiled, that tails are filled up, and that pictures stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models import compiled
from bench.models.base import Conditioning
from bench.models.compiled import compile_networks, filled, filled_conditioning, repeated_blocks
from bench.models.load import load_model
from bench.sampling.loop import as_batch, run_tree
from bench.sampling.tree import actions_of, build_tree
from tests.unit.bench.models.families import family_pipeline, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

STEPS = 3
COMBINED = actions_of([0.0, 0.0, 1.0], ("base", 3.0), ("tuned", 1.0))
ITEMS = [(f"p{n}", "a red circle", 0) for n in range(5)]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of rows of each graph that was compiled; it runs as it is."""
    found: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        found.append(max((len(one) for one in inputs if isinstance(one, torch.Tensor) and one.ndim > 1), default=0))
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()


def model_of(family: str, folder: Path) -> Any:
    tiny_network(family, 5).save_pretrained(folder / "tuned")
    suite = tiny_suite("FlowMatchEulerDiscreteScheduler" if family == "sd3" else "DDIMScheduler", STEPS)
    suite.model.family = family
    model: Any = load_model(family_pipeline(family, folder / "pipeline"), suite, "cpu")
    model.add_network("tuned", folder / "tuned")
    return model


def pictures(model: Any, sizes: list[int]) -> list[torch.Tensor]:
    """Batches of so many images, decoded."""
    made = []
    for size in sizes:
        ((_, latents),) = run_tree(model, build_tree({"combined": COMBINED}), as_batch(model, 7, ITEMS[:size]))
        made.append(model.decode(latents))
    return made


@pytest.mark.slow
def test_a_unet_is_compiled_once_for_each_way_it_is_used(graphs: list[int], tmp_path: Path) -> None:
    """The base network with guidance, the tuned one without; a second full batch and two tails compile nothing."""
    model = model_of("sd", tmp_path)
    plain = pictures(model, [4, 4, 1, 3])
    model.compile()
    model.compile()  # once is enough
    first = pictures(model, [4])
    count = len(graphs)
    assert count <= 3  # two networks and the decoder
    rest = pictures(model, [4, 1, 3])
    assert len(graphs) == count
    for found, wanted in zip([*first, *rest], plain, strict=True):
        assert found.shape == wanted.shape
        assert int((found.int() - wanted.int()).abs().max()) <= 1  # rows of other batch sizes


@pytest.mark.slow
def test_a_transformer_is_compiled_by_its_blocks(graphs: list[int], tmp_path: Path) -> None:
    model = model_of("sd3", tmp_path)
    kinds = {(type(one), getattr(one, "context_pre_only", None)) for one in repeated_blocks(model.network)}
    model.compile()
    pictures(model, [2, 2, 1])
    assert 0 < len(graphs) <= 2 * len(kinds) * 2 + 1  # each kind of block with guidance and without, of two networks


@pytest.mark.slow
def test_after_running_out_of_memory_batches_are_filled_up_to_smaller_ones(
    graphs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("sd", tmp_path)
    monkeypatch.setattr(compiled, "compile_networks", lambda *_: None)
    model.is_compiled = True
    seen: list[int] = []
    real = model._evaluate
    monkeypatch.setattr(model, "_evaluate", lambda module, z, t, s: seen.append(len(z)) or real(module, z, t, s))
    pictures(model, [4, 1])
    assert seen == [8, 8, 4] * 2
    seen.clear()
    model.make_room()
    pictures(model, [1])
    assert seen == [2, 2, 1]


def test_without_compiling_nothing_is_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("sd", tmp_path)
    seen: list[int] = []
    real = model._evaluate
    monkeypatch.setattr(model, "_evaluate", lambda module, z, t, s: seen.append(len(z)) or real(module, z, t, s))
    pictures(model, [4, 1])
    assert seen == [8, 8, 4, 2, 2, 1]


def test_the_last_row_fills_up() -> None:
    rows = torch.arange(6.0).view(3, 2)
    assert torch.equal(filled(rows, 5), torch.cat([rows, rows[2:], rows[2:]]))
    assert filled(rows, 3) is rows
    cond = Conditioning({"text": rows}, {"text": rows[:1]}, {"tuned": Conditioning({"text": rows + 1}, {})})
    more = filled_conditioning(cond, 4)
    assert [len(more.states["text"]), len(more.empty["text"]), len(more.own["tuned"].states["text"])] == [4, 1, 4]


@pytest.mark.slow
def test_the_limit_of_torch_allows_for_all_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = torch._dynamo.config
    monkeypatch.setattr(config, "recompile_limit", 8)
    compile_networks([torch.nn.Linear(1, 1) for _ in range(5)], [])
    assert config.recompile_limit == 20
