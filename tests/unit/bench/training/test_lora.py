"""A LoRA that a training starts from is written back as it was, and diffusers and PEFT read what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoHaConfig, LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from bench.errors import UsageError
from bench.models.base import BASE
from bench.models.networks import AdapterSwitch
from bench.models.sd import StableDiffusion
from bench.training.lora import check_start, lora_settings, lora_state, write_lora
from bench.training.network import make_trainable
from bench.training.rollout import TUNED
from tests.tolerance import assert_close
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite
from tests.unit.bench.training.worlds import RECIPE, STEPS

TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("lora") / "pipeline")


def model_of(folder: Path) -> Any:
    return StableDiffusion.load(folder, tiny_suite("DDPMScheduler", STEPS))


def call(unet: Any, shape: tuple[int, ...] = (2, 4, 8, 8)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(shape, generator=generator), torch.randn((shape[0], 5, 16), generator=generator)
    with torch.no_grad():
        found: Tensor = unet(latents, torch.tensor(500), encoder_hidden_states=text, return_dict=False)[0]
    return found


def with_network(model: Any, path: Path) -> Tensor:
    """The prediction of the network in `path`, loaded by bench."""
    model.add_network(TUNED, path)
    return switched(model)


def switched(model: Any) -> Tensor:
    """The prediction of the tuned network, with its adapter on."""
    network = model.networks[TUNED]
    AdapterSwitch(network.module).to(network.adapter)
    return call(network.module)


def by_peft(folder: Path, where: Path, **config: Any) -> Tensor:
    """Write an adapter as PEFT does, with random values; its prediction by PEFT alone."""
    torch.manual_seed(3)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    model = get_peft_model(unet, LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **config}))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                value.add_(0.6 * torch.randn(value.shape))
    model.eval()
    model.save_pretrained(where)
    return call(model)


CONFIGS: dict[str, dict[str, Any]] = {
    "alpha is twice the rank": {},
    "alpha is half the rank": {"lora_alpha": 2},
    "patterns": {
        "rank_pattern": {"attn1.to_q": 2, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": 3},
        "alpha_pattern": {"to_v": 1, "attn1.to_q": 5},
    },
    "rank-stabilised": {"use_rslora": True},
    "weight-decomposed": {"use_dora": True},
    "convolutions": {"target_modules": [*TARGETS, "conv1", "proj_in"]},
    "modules that it replaces": {"modules_to_save": ["conv_out", "conv_norm_out"]},
    "a regular expression": {"target_modules": r".*attn2\.to_[kv]"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_what_was_started_from_is_written_back(name: str, folder: Path, tmp_path: Path) -> None:
    """No update is made: what is written must act as what was read, for bench, PEFT and diffusers."""
    truth = by_peft(folder, tmp_path / "start", **CONFIGS[name])
    base = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert float((truth - call(base)).abs().max()) > 0.1, "the adapter acts"
    model = model_of(folder)
    make_trainable(model, replace(RECIPE, lora_rank=4), tmp_path / "start").write(tmp_path / "written")
    assert_close(with_network(model_of(folder), tmp_path / "written"), truth)
    again = PeftModel.from_pretrained(base, str(tmp_path / "written")).eval()
    assert_close(call(again), truth)
    if name not in ("weight-decomposed", "modules that it replaces"):  # what diffusers' own loader drops
        pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
        pipeline.load_lora_weights(str(tmp_path / "written"))
        assert_close(call(pipeline.unet), truth)


@pytest.mark.slow
def test_a_new_lora_that_learnt_is_the_same_in_diffusers(folder: Path, tmp_path: Path) -> None:
    model = model_of(folder)
    trainable = make_trainable(model, replace(RECIPE, lora_rank=2, lora_alpha=6.0), None)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in trainable.values():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    trainable.write(tmp_path / "written")
    ours = switched(model)
    assert float((ours - call(model_of(folder).networks[BASE].module)).abs().max()) > 0.1
    assert lora_settings(trainable.module, str(trainable.adapter))["lora_alpha"] == 6
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.load_lora_weights(str(tmp_path / "written"))
    assert_close(call(pipeline.unet), ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "is a LoRA of rank 4: pass --lora-rank 4"),
        ({"lora_rank": 2}, "continues with its own rank, not 2: give --lora-rank 4"),
        ({"lora_rank": 4, "lora_alpha": 4.0}, "continues with its own alpha, not 4"),
        ({"lora_rank": 4, "lora_targets": ("to_q",)}, "other layers than lora_targets=to_q"),
    ],
)
def test_another_lora_than_the_one_started_from_is_refused(
    changes: dict[str, Any], said: str, folder: Path, tmp_path: Path
) -> None:
    by_peft(folder, tmp_path / "start")
    with pytest.raises(UsageError, match=said):
        make_trainable(model_of(folder), replace(RECIPE, **changes), tmp_path / "start")


class Ends(nn.Module):
    """A layer whose name is the end of another's, as FLUX has."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"proj_out": nn.Linear(4, 4), "fc": nn.Linear(4, 4)})
        self.proj_out = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj_out(self.block["fc"](self.block["proj_out"](x)))
        return y


def test_a_layer_whose_name_ends_anothers_is_named_alone() -> None:
    model = get_peft_model(Ends(), LoraConfig(r=2, lora_alpha=3, target_modules="proj_out")).base_model.model
    settings = lora_settings(model, "default")
    assert settings["target_modules"] == "proj_out", "a regular expression of the whole name"
    again = get_peft_model(Ends(), LoraConfig(**settings)).base_model.model
    assert lora_settings(again, "default") == settings


def test_modules_that_an_adapter_replaces_are_in_its_settings() -> None:
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["fc"], modules_to_save=["proj_out"])
    model = get_peft_model(Ends(), config).base_model.model
    assert lora_settings(model, "default")["modules_to_save"] == ["block.proj_out", "proj_out"]
    with pytest.raises(UsageError, match="pass --lora-rank 2"):
        check_start(Path("x"), model, "default", RECIPE)


class Held(nn.Module):
    """How the loader holds parameters that an adapter replaces, beside the network's own."""

    def __init__(self, adapter: str, **values: Tensor) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict({adapter: nn.ParameterDict({k: nn.Parameter(v) for k, v in values.items()})})

    def values(self, adapter: str) -> dict[str, nn.Parameter]:
        return {key.replace("/", "."): value for key, value in self.adapters[adapter].items()}  # type: ignore[operator, union-attr]


def test_what_an_adapter_replaces_whole_is_written(tmp_path: Path) -> None:
    """PEFT reads it as modules_to_save: the value that is replaced, and the module's other parameters as they are."""
    torch.manual_seed(0)
    model = get_peft_model(Ends(), LoraConfig(r=2, lora_alpha=3, target_modules=["fc"])).base_model.model
    other = torch.randn(4)
    model.add_module("adapter_patches", Held("default", **{"proj_out/bias": other}))
    state, settings = lora_state(model, "default"), lora_settings(model, "default")
    assert settings["modules_to_save"] == ["proj_out"]
    assert torch.equal(state["proj_out.bias"], other)
    assert torch.equal(state["proj_out.weight"], model.proj_out.weight)
    write_lora(tmp_path, state, settings)
    base = Ends()
    base.load_state_dict({**base.state_dict(), "proj_out.weight": model.proj_out.weight}, strict=False)
    loaded = PeftModel.from_pretrained(base, str(tmp_path)).base_model.model
    assert torch.equal(loaded.proj_out.modules_to_save["default"].bias, other)


def test_an_adapter_of_another_kind_is_not_gone_on_with() -> None:
    model = get_peft_model(Ends(), LoHaConfig(r=2, target_modules=["fc"])).base_model.model
    with pytest.raises(UsageError, match="is an adapter of another kind than LoRA"):
        check_start(Path("x"), model, "default", RECIPE)


@pytest.mark.parametrize("part", ["text_adapter", "text", "vae"])
def test_weights_that_change_more_than_the_network_are_no_start(
    part: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(folder)

    def add(name: str, path: Path) -> None:
        model.networks[name] = SimpleNamespace(module=model.networks[BASE].module, adapter=None, **{part: object()})

    monkeypatch.setattr(model, "add_network", add)
    with pytest.raises(UsageError, match=r"brings (text encoders|an autoencoder) of its own, which a checkpoint"):
        make_trainable(model, RECIPE, tmp_path)
