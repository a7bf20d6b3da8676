"""Names of the original Stable Diffusion files (CompVis, OpenCLIP), spelled out for the tiny networks of the tests."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tests.unit.bench.models.test_checkpoints import ldm_name

_VAE = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"down_blocks\.(\d)\.resnets\.(\d)\.", r"down.\1.block.\2."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
)
_CLIP = (
    (r"^embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"layer_norm(\d)\.", r"ln_\1."),
    (r"mlp\.fc1\.", "mlp.c_fc."),
    (r"mlp\.fc2\.", "mlp.c_proj."),
    (r"self_attn\.out_proj\.", "attn.out_proj."),
)


def original_unet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet as `model.diffusion_model.*`; SDXL's added conditions are `label_emb`."""
    named = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
    found = {}
    for key, value in state.items():
        stem, _, end = key.rpartition(".")
        name = f"{named[stem]}.{end}" if stem in named else ldm_name(key)
        found[f"model.diffusion_model.{name}"] = value
    return found


def original_vae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VAE as `first_stage_model.*`; attention is written as 1 x 1 convolutions, the blocks upwards from the last."""
    found = {}
    for key, value in state.items():
        name = re.sub(r"up_blocks\.(\d)\.", lambda match: f"up.{2 - int(match[1])}.", key)
        name = re.sub(r"(up\.\d)\.resnets\.(\d)\.", r"\1.block.\2.", name)
        name = re.sub(r"(up\.\d)\.upsamplers\.0\.", r"\1.upsample.", name)
        for pattern, text in _VAE:
            name = re.sub(pattern, text, name)
        attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight$", name)
        found[f"first_stage_model.{name}"] = value[:, :, None, None] if attention else value
    return found


def original_clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A CLIP text encoder under transformers' older names, as Stable Diffusion 1.x has it."""
    return {f"{prefix}transformer.text_model.{key.removeprefix('text_model.')}": value for key, value in state.items()}


def open_clip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A CLIP text encoder as OpenCLIP writes it: query, key and value in one matrix, the projection transposed."""
    plain = {key.removeprefix("text_model."): value for key, value in state.items()}
    found: dict[str, Tensor] = {}
    for key, value in plain.items():
        if ".self_attn." in key and "out_proj" not in key:
            if ".q_proj." in key:
                parts = [plain[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
                stem = key.replace("encoder.layers", "transformer.resblocks").split("self_attn")[0]
                found[f"{prefix}model.{stem}attn.in_proj_{key.rpartition('.')[2]}"] = torch.cat(parts)
            continue
        if key == "text_projection.weight":
            found[f"{prefix}model.text_projection"] = value.T.contiguous()
            continue
        name = key
        for pattern, text in _CLIP:
            name = re.sub(pattern, text, name)
        found[f"{prefix}model.{name}"] = value
    return found
