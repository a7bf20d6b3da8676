"""What differs between two networks, by kind of tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel

from bench.training.parameters import learning
from bench.training.weights_difference import differing, kind_of, main
from tests.unit.bench.models.tiny import tiny_unet


@pytest.mark.parametrize("kind", ["norms", "cross_attention"])
def test_kinds_by_name_are_those_that_learn(kind: str) -> None:
    unet = tiny_unet()
    names = dict(unet.named_parameters())
    assert {name for name in names if kind_of(name) == kind} == set(learning(unet, names, kind))


def test_adaptive_normalisations_linear_layers_are_no_norms() -> None:
    with torch.device("meta"):
        flux = FluxTransformer2DModel(
            num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=8,
            pooled_projection_dim=8, in_channels=4, axes_dims_rope=(2, 2, 4),
        )  # fmt: skip
    names = dict(flux.named_parameters())
    assert {name for name in names if kind_of(name) == "norms"} == set(learning(flux, names, "norms"))


def save(network: UNet2DConditionModel, folder: Path, **options: object) -> Path:
    network.save_pretrained(folder, **options)
    return folder


def test_a_training_of_norms_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save(tiny_unet(), tmp_path / "base")
    tuned = tiny_unet()
    with torch.no_grad():
        for value in learning(tuned, dict(tuned.named_parameters()), "norms").values():
            value.add_(0.1)
    other = save(tuned, tmp_path / "tuned", max_shard_size="20KB")
    assert len(list(other.glob("*.safetensors"))) > 1
    found = differing(base, other)
    assert found["differ"]["norms"] == found["all"]["norms"] > 10
    assert sum(found["differ"].values()) == found["differ"]["norms"]
    assert sum(found["all"].values()) == len(list(tuned.parameters()))
    assert main([str(base), str(other)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "norms"
    assert sum(differing(base, base)["differ"].values()) == 0


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = save(tiny_unet(), tmp_path / "base")
    wide = save(tiny_unet(context=24), tmp_path / "wide")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no tensors")
    for path, code, said in (
        (wide, 2, "has two shapes"),
        (tmp_path / "nothing", 4, "has no safetensors file"),
        (damaged, 4, "is damaged"),
    ):
        assert main([str(base), str(path)]) == code
        assert said in capsys.readouterr().err
    assert main([]) == 2
