"""Checkpoints of every family in every published form, and one sentence for each that does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import MissingError
from bench.models.families import family_of_keys
from bench.models.load import load_model
from tests.tolerance import assert_close, relative_difference
from tests.unit.bench.models.families import FAMILIES, family_pipeline, scheduler_of, tiny_network
from tests.unit.bench.models.tiny import tiny_suite

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: family_pipeline(family, root / family) for family in FAMILIES}


def model_of(family: str, folder: Path) -> Any:
    suite = tiny_suite(scheduler_of(family), options={"rescale_betas_zero_snr": False} if family == "sd" else {})
    suite.model.family = family
    return load_model(folder, suite)


@torch.inference_mode()
def prediction(model: Any, network: str) -> Tensor:
    count = 2 * torch.Size(model.latents_shape).numel()
    latents = torch.linspace(-1, 1, count).reshape(2, *model.latents_shape)
    guidance = 1.0 if model.family == "flux" else 2.0
    cond = model.encode(["a star", "a circle"])
    result: Tensor = model.predict(network, latents, torch.tensor(500.0), cond, guidance)
    return result


def part(model: Any) -> str:
    return str(model.network_part)


def lora_state(family: str, folder: Path, alpha: int = 2) -> tuple[dict[str, Tensor], Tensor, LoraConfig]:
    """A LoRA of rank 2 with random factors, and the prediction of the network that has it."""
    model = model_of(family, folder)
    config = LoraConfig(r=2, lora_alpha=alpha, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    model.network.add_adapter(config, "x")
    torch.manual_seed(3)
    for name, value in model.network.named_parameters():
        if "lora_" in name:
            value.data.normal_()
    return get_peft_model_state_dict(model.network, adapter_name="x"), prediction(model, "base"), config


def write(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=metadata or None)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["diffusers", "peft"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_lives_in_the_base_network(folders: dict[str, Path], tmp_path: Path, family: str, layout: str) -> None:
    alpha = 6 if layout == "peft" else 2
    state, expected, config = lora_state(family, folders[family], alpha)
    model = model_of(family, folders[family])
    if layout == "peft":
        path = tmp_path / "lora"
        write(path / "adapter_model.safetensors", {f"base_model.model.{key}": value for key, value in state.items()})
        facts = {"r": 2, "lora_alpha": alpha, "target_modules": sorted(config.target_modules or ())}
        (path / "adapter_config.json").write_text(json.dumps(facts))
    else:
        path = write(tmp_path / "mine.safetensors", {f"{part(model)}.{key}": value for key, value in state.items()})
    before = prediction(model, "base")
    model.add_network("lora", path)
    assert model.networks["lora"].module is model.network
    for _ in range(2):
        assert torch.equal(prediction(model, "base"), before)
        assert_close(prediction(model, "lora"), expected)
    assert relative_difference(before, expected) > 1e-3


@pytest.mark.slow
def test_several_loras_and_networks_side_by_side(folders: dict[str, Path], tmp_path: Path) -> None:
    state, expected, _ = lora_state("sd", folders["sd"])
    tiny_network("sd", 5).save_pretrained(tmp_path / "whole")
    first = write(tmp_path / "first.safetensors", {f"unet.{key}": value for key, value in state.items()})
    second = write(tmp_path / "second.safetensors", {f"unet.{key}": -value for key, value in state.items()})
    model = model_of("sd", folders["sd"])
    before = prediction(model, "base")
    model.add_network("first", first)
    model.add_network("whole", tmp_path / "whole")
    whole = prediction(model, "whole")
    model.add_network("second", second)
    for name, value in {"base": before, "whole": whole}.items():
        assert torch.equal(prediction(model, name), value)
    assert_close(prediction(model, "first"), expected)
    assert not torch.equal(prediction(model, "second"), before)
    assert torch.equal(prediction(model, "base"), before)


@pytest.mark.slow
def test_the_scale_of_a_lora(folders: dict[str, Path], tmp_path: Path) -> None:
    """Half of alpha / rank is half of the change, so it equals a file with half of the up matrices."""
    state, _, _ = lora_state("sd", folders["sd"])
    halved = {key: value / 2 if "lora_B" in key else value for key, value in state.items()}
    full = write(tmp_path / "full.safetensors", {f"unet.{key}": value for key, value in state.items()})
    half = write(tmp_path / "half.safetensors", {f"unet.{key}": value for key, value in halved.items()})
    model = model_of("sd", folders["sd"])
    model.add_network("scaled", full, scale=0.5)
    model.add_network("half", half)
    assert_close(prediction(model, "scaled"), prediction(model, "half"))
    with pytest.raises(MissingError, match="contains full weights, not a LoRA, so that lora_scale 0.5 has no effect"):
        model.add_network("whole", folders["sd"] / "unet", scale=0.5)


def test_alphas_in_the_header_and_in_kohyas_layout(folders: dict[str, Path], tmp_path: Path) -> None:
    state, expected, config = lora_state("sd", folders["sd"], alpha=6)
    header = {"unet.r": 2, "unet.lora_alpha": 6, "unet.target_modules": sorted(config.target_modules or ())}
    ours = {f"unet.{key}": value for key, value in state.items()}
    kohya: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, which = key.removesuffix(".weight").rsplit(".", 1)
        name = f"lora_unet_{layer.replace('.', '_')}"
        kohya[f"{name}.{'lora_down' if which == 'lora_A' else 'lora_up'}.weight"] = value
        kohya[f"{name}.alpha"] = torch.tensor(6.0)
    model = model_of("sd", folders["sd"])
    model.add_network("header", write(tmp_path / "a.safetensors", ours, lora_adapter_metadata=json.dumps(header)))
    model.add_network("kohya", write(tmp_path / "b.safetensors", kohya))
    for name in ("header", "kohya"):
        assert_close(prediction(model, name), expected)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_whole_networks_in_every_form(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    model = model_of(family, folders[family])
    name, tuned = part(model), tmp_path / "tuned"
    tiny_network(family, 5).save_pretrained(tuned)
    forms = {"folder": tuned, "file": tuned / WEIGHTS}
    shutil.copytree(tuned, (forms.setdefault("pipeline", tmp_path / "pipeline")) / name)
    shutil.copytree(tuned, (forms.setdefault("two", tmp_path / "two")) / f"fine_tuned_{name}")
    shutil.copytree(folders[family] / name, tmp_path / "two" / f"original_{name}")
    (forms.setdefault("alone", tmp_path / "alone")).mkdir()
    shutil.copy(tuned / WEIGHTS, tmp_path / "alone" / "model.safetensors")
    from safetensors.torch import load_file

    wrapped = {f"module.{key}": value for key, value in load_file(tuned / WEIGHTS).items()}
    forms["wrapped"] = write(tmp_path / "wrapped.safetensors", wrapped)
    before = prediction(model, "base")
    for form, path in forms.items():
        model.add_network(form, path)
        assert torch.equal(prediction(model, form), prediction(model, "folder")), form
    assert not torch.equal(prediction(model, "folder"), before)
    assert torch.equal(prediction(model, "base"), before)


@pytest.mark.slow
def test_the_two_network_layout_is_a_base_as_well(folders: dict[str, Path], tmp_path: Path) -> None:
    """ControlGenAI/ImageReFL_*: `original_unet` and `fine_tuned_unet`, and a pipeline class of the authors' own."""
    repository = Path(shutil.copytree(folders["sd"], tmp_path / "repository"))
    (repository / "unet").rename(repository / "original_unet")
    tiny_network("sd", 5).save_pretrained(repository / "fine_tuned_unet")
    index = json.loads((repository / "model_index.json").read_text())
    index["_class_name"] = ["pipeline", "CombinedPipeline"]
    (repository / "model_index.json").write_text(json.dumps(index))
    (repository / "pipeline.py").write_text("raise SystemExit('code of a repository was run')")
    model, plain = model_of("sd", repository), model_of("sd", folders["sd"])
    assert torch.equal(prediction(model, "base"), prediction(plain, "base"))
    for one in (model, plain):
        one.add_network("tuned", repository)
    assert torch.equal(prediction(model, "tuned"), prediction(plain, "tuned"))
    assert not torch.equal(prediction(model, "tuned"), prediction(model, "base"))


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_name(key: str) -> str:
    """A key of the tiny UNet (one layer a block) in the original Stable Diffusion layout."""
    for ours, theirs in OUTER.items():
        if key.startswith(f"{ours}."):
            return key.replace(ours, theirs, 1)
    words = key.split(".")
    if words[0] == "mid_block":
        index = 1 if words[1] == "attentions" else 2 * int(words[2])
        where, rest = f"middle_block.{index}", words[3:]
    else:
        block, kind, layer, rest = int(words[1]), words[2], int(words[3]), words[4:]
        down = words[0] == "down_blocks"
        if kind in ("downsamplers", "upsamplers"):
            # The first block upwards has attention (place 1), so its upsampler comes third.
            return f"input_blocks.2.0.op.{rest[-1]}" if down else f"output_blocks.1.2.conv.{rest[-1]}"
        side = f"input_blocks.{1 + 2 * block + layer}" if down else f"output_blocks.{2 * block + layer}"
        where = f"{side}.{0 if kind == 'resnets' else 1}"
    if rest[0] in RESNET:
        rest[0] = RESNET[rest[0]]
    return ".".join([where, *rest])


def test_the_original_layout_of_one_file(folders: dict[str, Path], tmp_path: Path) -> None:
    tuned = tiny_network("sd", 5)
    tuned.save_pretrained(tmp_path / "tuned")
    original = {f"model.diffusion_model.{ldm_name(key)}": value for key, value in tuned.state_dict().items()}
    assert len(original) == len(tuned.state_dict())
    model = model_of("sd", folders["sd"])
    model.add_network("original", write(tmp_path / "original.safetensors", original))
    model.add_network("folder", tmp_path / "tuned")
    assert torch.equal(prediction(model, "original"), prediction(model, "folder"))


# A layer's name in diffusers -> in the authors' code; query, key and value are one matrix there.
AUTHORS = {
    "z_image": {
        ".attention.to_out.0.": ".attention.out.",
        ".attention.norm_q.": ".attention.q_norm.",
        ".attention.norm_k.": ".attention.k_norm.",
        "all_x_embedder.2-1.": "x_embedder.",
        "all_final_layer.2-1.": "final_layer.",
    },
    "flux2": {
        "single_transformer_blocks.": "single_blocks.",
        "transformer_blocks.": "double_blocks.",
        ".attn.to_qkv_mlp_proj.": ".linear1.",
        ".attn.to_out.0.": ".img_attn.proj.",
        ".attn.to_add_out.": ".txt_attn.proj.",
        ".attn.to_out.": ".linear2.",
        ".attn.norm_added_q.weight": ".txt_attn.norm.query_norm.scale",
        ".attn.norm_added_k.weight": ".txt_attn.norm.key_norm.scale",
        ".ff.linear_in.": ".img_mlp.0.",
        ".ff.linear_out.": ".img_mlp.2.",
        ".ff_context.linear_in.": ".txt_mlp.0.",
        ".ff_context.linear_out.": ".txt_mlp.2.",
        "x_embedder.": "img_in.",
        "context_embedder.": "txt_in.",
        "time_guidance_embed.timestep_embedder.linear_1.": "time_in.in_layer.",
        "time_guidance_embed.timestep_embedder.linear_2.": "time_in.out_layer.",
        "_modulation_img.linear.": "_modulation_img.lin.",
        "_modulation_txt.linear.": "_modulation_txt.lin.",
        "single_stream_modulation.linear.": "single_stream_modulation.lin.",
        "norm_out.linear.": "final_layer.adaLN_modulation.1.",
        "proj_out.": "final_layer.linear.",
    },
}


def in_the_authors_names(family: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    joints = {"to_q": ("to_k", "to_v"), "add_q_proj": ("add_k_proj", "add_v_proj")}
    for key, value in state.items():
        words = key.split(".")
        layer = words[-2] if len(words) > 1 else ""
        if layer in ("to_k", "to_v", "add_k_proj", "add_v_proj"):
            continue
        name = key
        if layer in joints:
            others = [state[key.replace(f".{layer}.", f".{other}.")] for other in joints[layer]]
            value = torch.cat([value, *others])
            side = {"to_q": "img_attn", "add_q_proj": "txt_attn"}[layer] if family == "flux2" else "attention"
            name = key.replace(f".{words[-3]}.{layer}.", f".{side}.qkv.")
        if key == "norm_out.linear.weight":  # shift first there, scale first in diffusers
            value = value.roll(len(value) // 2, 0)
        single = key.startswith("single_transformer_blocks.")
        for norm in ("query", "key"):
            inside = "norm" if single else "img_attn.norm"
            name = name.replace(f".attn.norm_{norm[0]}.weight", f".{inside}.{norm}_norm.scale")
        for ours, theirs in AUTHORS[family].items():
            name = name.replace(ours, theirs)
        found[name] = value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("family", AUTHORS)
def test_one_file_in_the_authors_names(folders: dict[str, Path], tmp_path: Path, family: str, prefix: str) -> None:
    tuned = tiny_network(family, 5)
    tuned.save_pretrained(tmp_path / "tuned")
    original = in_the_authors_names(family, dict(tuned.state_dict()))
    assert len(original) < len(tuned.state_dict())
    assert not any("to_q" in key or "transformer_blocks" in key for key in original)
    model = model_of(family, folders[family])
    path = write(tmp_path / "original.safetensors", {f"{prefix}{key}": value for key, value in original.items()})
    model.add_network("original", path)
    model.add_network("folder", tmp_path / "tuned")
    assert torch.equal(prediction(model, "original"), prediction(model, "folder"))
    assert not torch.equal(prediction(model, "original"), prediction(model, "base"))


def test_families_are_told_by_their_keys() -> None:
    for family in FAMILIES:
        assert family_of_keys(tiny_network(family).state_dict()) == family
    original = {
        "flux": "double_blocks.0.img_attn.qkv.weight",
        "sd3": "joint_blocks.0.x_block.attn.qkv.weight",
        "sdxl": "model.diffusion_model.label_emb.0.0.weight",
        "sd": "model.diffusion_model.input_blocks.1.0.in_layers.0.weight",
        "pixart": "t_block.1.weight",
        "flux2": "double_stream_modulation_img.lin.weight",
        "z_image": "x_pad_token",
        "qwen_image": "transformer_blocks.0.img_mod.1.weight",
        "sana": "blocks.0.mlp.inverted_conv.conv.weight",
    }
    assert {family: family_of_keys([key]) for family, key in original.items()} == {name: name for name in original}
    assert family_of_keys(["x"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints_of_another_family(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    model = model_of(family, folders[family])
    before = prediction(model, "base")
    for other in FAMILIES:
        if other == family:
            continue
        folder = tmp_path / other
        tiny_network(other).save_pretrained(folder)
        with pytest.raises(MissingError, match=r"contains a \w+ of .*, but the suite's model needs a \w+ of"):
            model.add_network("x", folder)
        with pytest.raises(MissingError, match="checkpoint of another model than the suite's: of .*, not of"):
            model.add_network("x", folder / WEIGHTS)
        with pytest.raises(MissingError, match=f"is a pipeline of .*, but the suite has family '{family}'"):
            model_of(family, folders[other])
    state, _, _ = lora_state("sdxl" if family == "flux" else "flux", folders["sdxl" if family == "flux" else "flux"])
    path = write(tmp_path / "lora.safetensors", {f"base_model.model.{key}": value for key, value in state.items()})
    with pytest.raises(MissingError, match="is a LoRA (for .*, and the suite's model is|of another model)"):
        model.add_network("x", path)
    assert set(model.networks) == {"base"}
    assert torch.equal(prediction(model, "base"), before)


@pytest.mark.slow
def test_what_does_not_fit_is_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    model = model_of("sd", folders["sd"])
    state, _, _ = lora_state("sd", folders["sd"])
    unet = dict(tiny_network("sd").state_dict())
    lacking = {key: value for key, value in unet.items() if not key.startswith("conv_in")}
    text = {"text_encoder.layers.0.lora_A.weight": torch.zeros(2, 4)}
    small = {key: value[:, :-1] if "lora_A" in key else value for key, value in state.items()}
    first = next(iter(state))
    cases = {
        "lacking": (lacking, "it lacks conv_in.bias, conv_in.weight"),
        "more": (unet | {"extra.weight": torch.zeros(1)}, "unknown keys extra.weight"),
        "text": ({f"unet.{key}": value for key, value in state.items()} | text, "not in it: text_encoder.layers.0"),
        "dora": (
            {f"unet.{key}": value for key, value in state.items()} | {"a.dora_scale": torch.zeros(1)},
            "is a DoRA",
        ),
        "nothing": ({"unet.x.lora_A.weight": state[first]}, r"its layers are not in it: unet.x"),
        "small": (
            {f"unet.{key}": value for key, value in small.items()},
            r"has the shape \(2, \d+\) for a layer",
        ),
        "unknown": ({"what.is.this": torch.zeros(1)}, "checkpoint of another model|in a layout that diffusers cannot"),
    }
    for name, (tensors, words) in cases.items():
        with pytest.raises(MissingError, match=words):
            model.add_network("x", write(tmp_path / f"{name}.safetensors", tensors))
    write(tmp_path / "several" / "a.safetensors", unet)
    write(tmp_path / "several" / "b.safetensors", unet)
    with pytest.raises(MissingError, match=r"several checkpoints \(a.safetensors, b.safetensors\): give the path"):
        model.add_network("x", tmp_path / "several")
    assert set(model.networks) == {"base"}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["unet.", "base_model.model."])
def test_an_incomplete_lora_is_refused(folders: dict[str, Path], tmp_path: Path, layout: str) -> None:
    """PEFT begins what a file lacks with random values: such a network is nobody's."""
    model = model_of("sd", folders["sd"])
    before = prediction(model, "base")
    state = {f"{layout}{key}": value for key, value in lora_state("sd", folders["sd"])[0].items()}
    first = min(key for key in state if "lora_A" in key)
    other = first.replace("lora_A", "lora_B")
    cases = {
        "no_first": ({key: value for key, value in state.items() if key != first}, "lora_A; download the file"),
        "no_second": ({key: value for key, value in state.items() if key != other}, "lora_B; download the file"),
        "only_first": ({key: value for key, value in state.items() if "lora_A" in key}, r"lora_B and \d+ more"),
        "only_second": ({key: value for key, value in state.items() if "lora_B" in key}, r"lora_A and \d+ more"),
    }
    for name, (tensors, words) in cases.items():
        with pytest.raises(MissingError, match=f"is an incomplete LoRA: it lacks .*{words}"):
            model.add_network(name, write(tmp_path / f"{name}.safetensors", tensors))
    assert set(model.networks) == {"base"}
    assert torch.equal(prediction(model, "base"), before)


def test_a_lora_whose_values_nothing_takes_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    model = model_of("sd", folders["sd"])
    before = prediction(model, "base")
    state = {f"unet.{key}": value for key, value in lora_state("sd", folders["sd"])[0].items()}
    bias = next(iter(state)).partition(".lora")[0] + ".lora_A.bias"
    path = write(tmp_path / "bias.safetensors", {**state, bias: torch.ones(2)})
    with pytest.raises(MissingError, match=r"has a LoRA whose first matrix has a bias \(.*lora_A.bias\)"):
        model.add_network("x", path)
    assert set(model.networks) == {"base"}
    assert torch.equal(prediction(model, "base"), before)


@pytest.mark.slow
def test_alpha_of_a_peft_file_under_any_name(folders: dict[str, Path], tmp_path: Path, said: list[str]) -> None:
    state, expected, _ = lora_state("sd", folders["sd"], alpha=6)
    named = {f"base_model.model.{key}": value for key, value in state.items()}
    model = model_of("sd", folders["sd"])
    model.add_network("beside", write(tmp_path / "a" / "mine.safetensors", named))
    words = "states no alpha (there is no adapter_config.json beside it); assuming alpha = rank"
    assert [line for line in said if words in line]
    facts = {"r": 2, "lora_alpha": 6, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(facts))
    model.add_network("told", tmp_path / "a" / "mine.safetensors")
    assert_close(prediction(model, "told"), expected)
    assert relative_difference(prediction(model, "beside"), expected) > 1e-3
