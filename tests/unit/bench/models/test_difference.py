"""Which tensors of two networks differ, by kind of layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.models.difference import difference, kind_of, main, network_files, sentence
from tests.unit.bench.models.families import tiny_network
from tests.unit.bench.models.original_layout import original_unet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("difference")
    tiny_network("sd").save_pretrained(root / "a")
    return root


def tuned(folder: Path, name: str, wanted: Callable[[str], bool], dtype: torch.dtype = torch.float32) -> Path:
    """The network with 0.5 added to the tensors that are wanted."""
    network = tiny_network("sd")
    for key, value in network.named_parameters():
        value.data = (value.data + (0.5 if wanted(key) else 0.0)).to(dtype)
    network.save_pretrained(folder / name)
    return folder / name


def test_the_kinds_of_every_family() -> None:
    """Norms are where the network has modules that are norms; every tensor has a kind."""
    for family in ("sd", "sdxl", "pixart", "sd3", "flux"):
        network = tiny_network(family)
        norms = {name for name, module in network.named_modules() if "Norm" in type(module).__name__}
        convolutions = {name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)}
        for key, value in network.state_dict().items():
            kind, owner = kind_of(key, value.shape), key.rpartition(".")[0]
            if isinstance(network.get_submodule(owner), (torch.nn.GroupNorm, torch.nn.LayerNorm)):
                assert kind == "normalisation", key
            if owner in convolutions:
                assert kind in ("convolution", "embedding", "other"), key
            if ".to_q." in key:
                assert kind == "attention", key
        assert norms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mark", "kind"),
    [("norm", "normalisation"), ("to_", "attention"), (".ff.", "feed-forward"), ("time_emb", "embedding")],
)
def test_one_kind_that_was_trained_is_found(folder: Path, tmp_path: Path, mark: str, kind: str) -> None:
    groups = difference(
        network_files(str(folder / "a")), network_files(str(tuned(tmp_path, "b", lambda key: mark in key)))
    )
    found = {group.kind: group for group in groups}
    assert [one for one in found if found[one].differing] == [kind]
    assert found[kind].differing == found[kind].tensors
    assert found[kind].differing_values == found[kind].values
    assert found[kind].largest == pytest.approx(0.5, rel=1e-6)
    assert sentence(groups).startswith(f"Only {kind} differ; ")
    state = tiny_network("sd").state_dict()
    assert sum(group.tensors for group in groups) == len(state)
    assert sum(group.values for group in groups) == sum(value.numel() for value in state.values())


def test_all_and_none(folder: Path, tmp_path: Path) -> None:
    same = tuned(tmp_path, "same", lambda key: False, torch.float16)  # the rounding of a dtype is no training
    groups = difference(network_files(str(folder / "a")), network_files(str(same)))
    assert sentence(groups) == "The two networks are the same."
    other = difference(network_files(str(folder / "a")), network_files(str(tuned(tmp_path, "b", lambda key: True))))
    assert sentence(other) == "Layers of every kind differ."


@pytest.mark.slow
def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Original files too; two networks that are no states of one are refused."""
    whole = tuned(tmp_path, "b", lambda key: "norm" in key)
    for name, network in {"x": tiny_network("sd"), "y": type(tiny_network("sd")).from_pretrained(whole)}.items():
        tensors = {key: value.contiguous().clone() for key, value in original_unet(network.state_dict()).items()}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    for pair in ((folder / "a", whole), (tmp_path / "x.safetensors", tmp_path / "y.safetensors")):
        assert main([*map(str, pair), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["layers"]
        assert [one["kind"] for one in found if one["differing"]] == ["normalisation"]
    assert main([str(folder / "a"), str(whole)]) == 0
    assert "Only normalisation differ; attention, " in capsys.readouterr().out
    assert main([str(folder / "a"), str(tmp_path / "x.safetensors")]) == 4
    assert "are not two states of one network" in capsys.readouterr().err
    assert main([str(folder / "a"), str(tmp_path / "absent")]) == 4
