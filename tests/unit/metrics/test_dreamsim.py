"""DreamSim's published types, from folders of the package's files: 48 wide instead of 768, everything else as it is."""

from __future__ import annotations

import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import metrics
from bench.doctor.parity import trunks
from bench.doctor.parity.trunks import Draw
from metrics.networks import dreamsim_trunks
from metrics.networks.dreamsim_trunks import without_layer_scale
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

WIDTH = 48


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the types ensemble, dino_vitb16, its patch type, clip_vitb32 and open_clip_vitb32."""
    from dreamsim.feature_extraction import load_clip_as_dino, load_open_clip_as_dino, vision_transformer

    def small(patch_size: int = 16, **settings: Any) -> Any:
        norm = partial(torch.nn.LayerNorm, eps=1e-6)
        return vision_transformer.VisionTransformer(
            patch_size=patch_size, embed_dim=WIDTH, num_heads=12, qkv_bias=True, norm_layer=norm, **settings
        )

    for module in (load_clip_as_dino, load_open_clip_as_dino, vision_transformer):
        monkeypatch.setattr(module, "vit_base", small)
    monkeypatch.setattr(trunks, "_VIT_WIDTH", WIDTH)
    trunks.dreamsim(Draw(0), tmp_path / "dreamsim")
    # Not among the fixture of the parity tests, whose digest the originals' values were recorded with.
    trunks._lora(Draw(0), "dino_vitb16_patch", tmp_path / "dreamsim" / "dino_vitb16_patch_lora", extractors=1)
    return tmp_path / "dreamsim"


def scaled(path: Path, factor: float) -> None:
    torch.save({key: value * factor for key, value in torch.load(path, weights_only=True).items()}, path)


def test_no_code_of_the_weights_folder_is_run(folder: Path, tmp_path: Path) -> None:
    hub, trace = torch.hub.get_dir(), tmp_path / "ran"
    wanted = metrics.load("dreamsim", weights=folder, type="dino_vitb16").score([picture(0), picture(1)])
    (folder / "facebookresearch_dino_main" / "hubconf.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    found = metrics.load("dreamsim", weights=folder, type="dino_vitb16").score([picture(0), picture(1)])
    assert found == wanted > 0.0
    assert not trace.exists()
    assert torch.hub.get_dir() == hub


def test_the_card_has_each_file_that_the_type_reads_and_no_other(folder: Path) -> None:
    single = metrics.load("dreamsim", weights=folder, type="dino_vitb16").card
    lora = {"dino_vitb16_single_lora/adapter_config.json", "dino_vitb16_single_lora/adapter_model.bin"}
    assert set(single.weights) == {"checkpoints/dino_vitbase16_pretrain.pth", *lora}
    whole = metrics.load("dreamsim", weights=folder).card
    trunks_read = {"checkpoints/dino_vitbase16_pretrain.pth", "clip_vitb16_pretrain.pth.tar"}
    trunks_read |= {"open_clip_vitb16_pretrain.pth.tar"}
    assert set(whole.weights) == {*trunks_read, "ensemble_lora/adapter_config.json", "ensemble_lora/adapter_model.bin"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dino_vitb16_single_lora/adapter_model.bin", "checkpoints/dino_vitbase16_pretrain.pth"]
)
def test_every_file_that_changes_the_value_changes_card_and_backbone(name: str, folder: Path) -> None:
    before = metrics.load("dreamsim", weights=folder, type="dino_vitb16")
    scaled(folder / name, 2.0)
    after = metrics.load("dreamsim", weights=folder, type="dino_vitb16")
    frames = [picture(0), picture(1)]
    assert after.score(frames) != before.score(frames)
    assert after.card.digest != before.card.digest
    assert after.backbone != before.backbone


def test_a_missing_trunk_names_the_command_that_fetches_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **settings: Any) -> None:
        raise OSError("offline")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    (folder / "checkpoints" / "dino_vitbase16_pretrain.pth").unlink()
    with pytest.raises(metrics.MissingWeightsError, match=r"dino_vitbase16_pretrain.pth' are .* curl") as caught:
        metrics.load("dreamsim", weights=folder)
    assert "\n" not in str(caught.value)


def test_layer_scales_go_into_the_layers_before_them() -> None:
    from dreamsim.feature_extraction.vision_transformer import VisionTransformer
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=28, patch_size=14, mlp_ratio=2
    )
    model = Dinov2Model(config).eval()
    state = {key: torch.randn_like(value) * 0.3 for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    network = VisionTransformer(
        [28], 14, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    ).eval()  # fmt: skip
    named = without_layer_scale(authors_names(state))
    network.load_state_dict({key: value for key, value in named.items() if key != "mask_token"}, strict=True)
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        wanted, found = model(pixels).last_hidden_state[:, 0], network(pixels)
    assert_close(found, wanted)


def authors_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' tensors of a DINOv2 under the names of its authors' files."""
    names = {
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token",
        "embeddings.position_embeddings": "pos_embed",
        "encoder.layer.": "blocks.",
        "attention.o_proj": "attn.proj",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
        "layernorm": "norm",
    }
    found: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        new = key
        for theirs, authors in names.items():
            new = new.replace(theirs, authors)
        if not re.search(r"\.attention\.[qkv]_proj", key):
            found[new] = value
        elif ".q_proj." in key:
            parts = [state[key.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            found[new.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    return found


@pytest.mark.slow
def test_the_patch_type_is_the_packages_own_distance(folder: Path) -> None:
    """CLS and mean patch together; the reference is the forward pass of the package for each pair."""
    from dreamsim import dreamsim
    from torchvision import transforms

    own = metrics.load("dreamsim", weights=folder, type="dino_vitb16_patch")
    frames = [picture(number) for number in range(3)]
    with dreamsim_trunks._own_trunks(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft, of the adapter that the package puts on twice
        network, _ = dreamsim(device="cpu", cache_dir=str(folder), dreamsim_type="dino_vitb16", use_patch_model=True)
    resize = transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC)
    tensors = [transforms.ToTensor()(resize(frame))[None] for frame in frames]
    with torch.no_grad():
        wanted = torch.tensor([[network(a, b).item() for b in tensors] for a in tensors])
    found = own.pairwise(frames)
    assert_close(found, wanted)
    cls_only = metrics.load("dreamsim", weights=folder, type="dino_vitb16")
    assert float((cls_only.pairwise(frames) - found).abs().max()) > 0.01 * float(found.max())
    assert cls_only.card.digest != own.card.digest
    assert {name.partition("/")[0] for name in own.card.weights} == {"checkpoints", "dino_vitb16_patch_lora"}
