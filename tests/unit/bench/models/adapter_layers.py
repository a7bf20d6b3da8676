"""Layers of the tiny networks, spelled out: by their names in diffusers and in the authors' own code."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A layer as a file names it, and the layers in diffusers whose output rows it holds, one after the other.

    `swapped`: its two halves are the other way round in diffusers.
    """

    name: str
    targets: tuple[str, ...]
    swapped: bool = False


_UNET_PLACES = {
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
}
_RESNET = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1"}
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_IN_A_TRANSFORMER = (
    "proj_in",
    "proj_out",
    *(f"transformer_blocks.0.{attention}.{layer}" for attention in ("attn1", "attn2") for layer in _ATTENTION),
    "transformer_blocks.0.ff.net.0.proj",
    "transformer_blocks.0.ff.net.2",
)
_UNET = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    **{
        f"{ours}.{layer}": f"{theirs}.{name}"
        for ours, theirs in _UNET_PLACES.items()
        for layer, name in (
            _RESNET.items() if "resnets" in ours else zip(_IN_A_TRANSFORMER, _IN_A_TRANSFORMER, strict=True)
        )
    },
}
_SDXL = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}

_FLUX = (
    Piece("double_blocks.0.img_attn.qkv", tuple(f"transformer_blocks.0.attn.to_{one}" for one in "qkv")),
    Piece("double_blocks.0.txt_attn.qkv", tuple(f"transformer_blocks.0.attn.add_{one}_proj" for one in "qkv")),
    Piece("double_blocks.0.img_attn.proj", ("transformer_blocks.0.attn.to_out.0",)),
    Piece("double_blocks.0.txt_attn.proj", ("transformer_blocks.0.attn.to_add_out",)),
    Piece("double_blocks.0.img_mlp.0", ("transformer_blocks.0.ff.net.0.proj",)),
    Piece("double_blocks.0.img_mlp.2", ("transformer_blocks.0.ff.net.2",)),
    Piece("double_blocks.0.txt_mlp.0", ("transformer_blocks.0.ff_context.net.0.proj",)),
    Piece("double_blocks.0.txt_mlp.2", ("transformer_blocks.0.ff_context.net.2",)),
    Piece("double_blocks.0.img_mod.lin", ("transformer_blocks.0.norm1.linear",)),
    Piece("double_blocks.0.txt_mod.lin", ("transformer_blocks.0.norm1_context.linear",)),
    Piece(
        "single_blocks.0.linear1",
        (
            "single_transformer_blocks.0.attn.to_q",
            "single_transformer_blocks.0.attn.to_k",
            "single_transformer_blocks.0.attn.to_v",
            "single_transformer_blocks.0.proj_mlp",
        ),
    ),
    Piece("single_blocks.0.linear2", ("single_transformer_blocks.0.proj_out",)),
    Piece("single_blocks.0.modulation.lin", ("single_transformer_blocks.0.norm.linear",)),
    Piece("img_in", ("x_embedder",)),
    Piece("txt_in", ("context_embedder",)),
    Piece("time_in.in_layer", ("time_text_embed.timestep_embedder.linear_1",)),
    Piece("vector_in.out_layer", ("time_text_embed.text_embedder.linear_2",)),
    Piece("guidance_in.in_layer", ("time_text_embed.guidance_embedder.linear_1",)),
    Piece("final_layer.linear", ("proj_out",)),
    Piece("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
XLABS = (
    Piece("double_blocks.0.processor.qkv_lora1", tuple(f"transformer_blocks.0.attn.to_{one}" for one in "qkv")),
    Piece("double_blocks.0.processor.qkv_lora2", tuple(f"transformer_blocks.0.attn.add_{one}_proj" for one in "qkv")),
    Piece("double_blocks.0.processor.proj_lora1", ("transformer_blocks.0.attn.to_out.0",)),
    Piece("double_blocks.0.processor.proj_lora2", ("transformer_blocks.0.attn.to_add_out",)),
    Piece("single_blocks.0.processor.qkv_lora", tuple(f"single_transformer_blocks.0.attn.to_{one}" for one in "qkv")),
    Piece("single_blocks.0.processor.proj_lora", ("single_transformer_blocks.0.proj_out",)),
)
_SD3 = (
    *(
        piece
        for n in (0, 1)
        for piece in (
            Piece(
                f"joint_blocks.{n}.x_block.attn.qkv", tuple(f"transformer_blocks.{n}.attn.to_{one}" for one in "qkv")
            ),
            Piece(
                f"joint_blocks.{n}.context_block.attn.qkv",
                tuple(f"transformer_blocks.{n}.attn.add_{one}_proj" for one in "qkv"),
            ),
            Piece(f"joint_blocks.{n}.x_block.attn.proj", (f"transformer_blocks.{n}.attn.to_out.0",)),
            Piece(f"joint_blocks.{n}.x_block.mlp.fc1", (f"transformer_blocks.{n}.ff.net.0.proj",)),
            Piece(f"joint_blocks.{n}.x_block.mlp.fc2", (f"transformer_blocks.{n}.ff.net.2",)),
            Piece(f"joint_blocks.{n}.x_block.adaLN_modulation.1", (f"transformer_blocks.{n}.norm1.linear",)),
        )
    ),
    Piece("joint_blocks.0.context_block.attn.proj", ("transformer_blocks.0.attn.to_add_out",)),
    Piece("joint_blocks.0.context_block.mlp.fc1", ("transformer_blocks.0.ff_context.net.0.proj",)),
    Piece("joint_blocks.0.context_block.mlp.fc2", ("transformer_blocks.0.ff_context.net.2",)),
    Piece("joint_blocks.0.context_block.adaLN_modulation.1", ("transformer_blocks.0.norm1_context.linear",)),
    Piece(
        "joint_blocks.1.context_block.adaLN_modulation.1", ("transformer_blocks.1.norm1_context.linear",), swapped=True
    ),
    Piece("x_embedder.proj", ("pos_embed.proj",)),
    Piece("context_embedder", ("context_embedder",)),
    Piece("t_embedder.mlp.0", ("time_text_embed.timestep_embedder.linear_1",)),
    Piece("y_embedder.mlp.2", ("time_text_embed.text_embedder.linear_2",)),
    Piece("final_layer.linear", ("proj_out",)),
    Piece("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
_PIXART = (
    *(
        piece
        for n in (0, 1)
        for piece in (
            Piece(f"blocks.{n}.attn.qkv", tuple(f"transformer_blocks.{n}.attn1.to_{one}" for one in "qkv")),
            Piece(f"blocks.{n}.attn.proj", (f"transformer_blocks.{n}.attn1.to_out.0",)),
            Piece(f"blocks.{n}.cross_attn.q_linear", (f"transformer_blocks.{n}.attn2.to_q",)),
            Piece(f"blocks.{n}.cross_attn.kv_linear", tuple(f"transformer_blocks.{n}.attn2.to_{one}" for one in "kv")),
            Piece(f"blocks.{n}.cross_attn.proj", (f"transformer_blocks.{n}.attn2.to_out.0",)),
            Piece(f"blocks.{n}.mlp.fc1", (f"transformer_blocks.{n}.ff.net.0.proj",)),
            Piece(f"blocks.{n}.mlp.fc2", (f"transformer_blocks.{n}.ff.net.2",)),
        )
    ),
    Piece("x_embedder.proj", ("pos_embed.proj",)),
    Piece("t_embedder.mlp.0", ("adaln_single.emb.timestep_embedder.linear_1",)),
    Piece("t_block.1", ("adaln_single.linear",)),
    Piece("y_embedder.y_proj.fc1", ("caption_projection.linear_1",)),
    Piece("final_layer.linear", ("proj_out",)),
)
_QKV = {"img": ("to_q", "to_k", "to_v"), "txt": ("add_q_proj", "add_k_proj", "add_v_proj")}
_FLUX2 = (
    *(
        piece
        for side, attention, mlp in (("img", "to_out.0", "ff"), ("txt", "to_add_out", "ff_context"))
        for piece in (
            Piece(f"double_blocks.0.{side}_attn.qkv", tuple(f"transformer_blocks.0.attn.{one}" for one in _QKV[side])),
            Piece(f"double_blocks.0.{side}_attn.proj", (f"transformer_blocks.0.attn.{attention}",)),
            Piece(f"double_blocks.0.{side}_mlp.0", (f"transformer_blocks.0.{mlp}.linear_in",)),
            Piece(f"double_blocks.0.{side}_mlp.2", (f"transformer_blocks.0.{mlp}.linear_out",)),
            Piece(f"double_stream_modulation_{side}.lin", (f"double_stream_modulation_{side}.linear",)),
        )
    ),
    Piece("single_blocks.0.linear1", ("single_transformer_blocks.0.attn.to_qkv_mlp_proj",)),
    Piece("single_blocks.0.linear2", ("single_transformer_blocks.0.attn.to_out",)),
    Piece("single_stream_modulation.lin", ("single_stream_modulation.linear",)),
    Piece("img_in", ("x_embedder",)),
    Piece("txt_in", ("context_embedder",)),
    Piece("time_in.in_layer", ("time_guidance_embed.timestep_embedder.linear_1",)),
    Piece("final_layer.linear", ("proj_out",)),
    Piece("final_layer.adaLN_modulation.1", ("norm_out.linear",), swapped=True),
)
_Z_IMAGE = (
    *(
        piece
        for block in ("layers.0", "layers.1", "noise_refiner.0", "context_refiner.0")
        for piece in (
            Piece(f"{block}.attention.qkv", tuple(f"{block}.attention.to_{one}" for one in "qkv")),
            Piece(f"{block}.attention.out", (f"{block}.attention.to_out.0",)),
            Piece(f"{block}.feed_forward.w1", (f"{block}.feed_forward.w1",)),
            Piece(f"{block}.feed_forward.w2", (f"{block}.feed_forward.w2",)),
        )
    ),
    Piece("layers.0.adaLN_modulation.0", ("layers.0.adaLN_modulation.0",)),
    Piece("x_embedder", ("all_x_embedder.2-1",)),
    Piece("cap_embedder.1", ("cap_embedder.1",)),
    Piece("final_layer.linear", ("all_final_layer.2-1.linear",)),
    Piece("final_layer.adaLN_modulation.1", ("all_final_layer.2-1.adaLN_modulation.1",)),
)
_QWEN_IMAGE = tuple(
    Piece(name, (name,))
    for name in (
        *(
            f"transformer_blocks.{n}.{layer}"
            for n in (0, 1)
            for layer in (
                *(f"attn.{one}" for one in (*_QKV["img"], "to_out.0")),
                "img_mlp.net.0.proj",
                "img_mlp.net.2",
                "img_mod.1",
            )
        ),
        *(f"transformer_blocks.0.{layer}" for layer in (*(f"attn.{one}" for one in _QKV["txt"]), "txt_mlp.net.2")),
        "img_in",
        "txt_in",
        "time_text_embed.timestep_embedder.linear_1",
        "norm_out.linear",
        "proj_out",
    )
)
"""The authors' code has diffusers' names."""
_SANA = (
    *(
        piece
        for n in (0, 1)
        for piece in (
            Piece(f"blocks.{n}.attn.qkv", tuple(f"transformer_blocks.{n}.attn1.to_{one}" for one in "qkv")),
            Piece(f"blocks.{n}.attn.proj", (f"transformer_blocks.{n}.attn1.to_out.0",)),
            Piece(f"blocks.{n}.cross_attn.q_linear", (f"transformer_blocks.{n}.attn2.to_q",)),
            Piece(f"blocks.{n}.cross_attn.kv_linear", tuple(f"transformer_blocks.{n}.attn2.to_{one}" for one in "kv")),
            Piece(f"blocks.{n}.cross_attn.proj", (f"transformer_blocks.{n}.attn2.to_out.0",)),
            Piece(f"blocks.{n}.mlp.inverted_conv.conv", (f"transformer_blocks.{n}.ff.conv_inverted",)),
            Piece(f"blocks.{n}.mlp.point_conv.conv", (f"transformer_blocks.{n}.ff.conv_point",)),
        )
    ),
    Piece("x_embedder.proj", ("patch_embed.proj",)),
    Piece("t_embedder.mlp.0", ("time_embed.emb.timestep_embedder.linear_1",)),
    Piece("t_block.1", ("time_embed.linear",)),
    Piece("y_embedder.y_proj.fc1", ("caption_projection.linear_1",)),
    Piece("final_layer.linear", ("proj_out",)),
)
ORIGINAL: dict[str, tuple[Piece, ...]] = {
    "sd": tuple(Piece(theirs, (ours,)) for ours, theirs in _UNET.items()),
    "sdxl": tuple(Piece(theirs, (ours,)) for ours, theirs in (_UNET | _SDXL).items()),
    "flux": _FLUX,
    "sd3": _SD3,
    "pixart": _PIXART,
    "flux2": _FLUX2,
    "z_image": _Z_IMAGE,
    "qwen_image": _QWEN_IMAGE,
    "sana": _SANA,
}
"""Layers by the names of the authors' code."""
DIFFUSERS: dict[str, tuple[Piece, ...]] = {
    family: tuple(Piece(target, (target,)) for piece in pieces for target in piece.targets)
    for family, pieces in ORIGINAL.items()
}
"""The same layers one by one, by their names in diffusers."""
ATTENTION = {
    family: tuple(
        piece for piece in pieces if re.search(r"\.(attn|attention)", piece.name) and piece.name.endswith(_ATTENTION)
    )
    for family, pieces in DIFFUSERS.items()
}
NORMS = {
    "sd": ("down_blocks.1.resnets.0.norm1", "conv_norm_out"),
    "sdxl": ("down_blocks.1.resnets.0.norm1", "conv_norm_out"),
    "flux": ("transformer_blocks.0.attn.norm_q", "single_transformer_blocks.0.attn.norm_k"),
    "sd3": ("transformer_blocks.0.attn.norm_q",),
    "pixart": (),
    "flux2": ("transformer_blocks.0.attn.norm_q", "single_transformer_blocks.0.attn.norm_k"),
    "z_image": ("layers.0.attention.norm_q", "layers.1.ffn_norm2"),
    "qwen_image": ("transformer_blocks.0.attn.norm_q", "txt_norm"),
    "sana": ("caption_norm",),
}
"""Normalisations with weights of their own."""
PART = {family: "unet" if family in ("sd", "sdxl") else "transformer" for family in ORIGINAL}
LAST = {family: "conv_out" if part == "unet" else "proj_out" for family, part in PART.items()}
LAST |= {"z_image": "all_final_layer.2-1.linear"}
"""The last layer of each network."""
# Text encoders: name in diffusers, number in kohya's keys, a layer as transformers 5 calls it, and as files do.
ENCODERS = {
    "sd": (
        ("text_encoder", "te", "encoder.layers.0.self_attn.q_proj", "text_model.encoder.layers.0.self_attn.q_proj"),
    ),
    "sdxl": (
        ("text_encoder", "te1", "encoder.layers.1.mlp.fc1", "text_model.encoder.layers.1.mlp.fc1"),
        ("text_encoder_2", "te2", "text_model.encoder.layers.0.mlp.fc2", "text_model.encoder.layers.0.mlp.fc2"),
    ),
    "sd3": (
        ("text_encoder", "te1", "text_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"),
        ("text_encoder_2", "te2", "text_model.encoder.layers.0.mlp.fc2", "text_model.encoder.layers.0.mlp.fc2"),
        ("text_encoder_3", "te3", *["encoder.block.0.layer.0.SelfAttention.o"] * 2),
    ),
    "flux": (
        ("text_encoder", "te1", "encoder.layers.1.mlp.fc1", "text_model.encoder.layers.1.mlp.fc1"),
        ("text_encoder_2", "te3", *["encoder.block.0.layer.1.DenseReluDense.wo"] * 2),
    ),
    "pixart": (("text_encoder", "te", *["encoder.block.0.layer.1.DenseReluDense.wo"] * 2),),
    # Language models, of which nobody publishes LoRAs in these files.
    **dict.fromkeys(("flux2", "z_image", "qwen_image", "sana"), ()),
}


def sgm(name: str, layers: int) -> str:
    """A layer of a UNet with `layers` layers a block, in the numbering of the authors' code."""
    words = name.split(".")
    if words[0] == "mid_block":
        index = "1" if words[1] == "attentions" else str(2 * int(words[2]))
        return ".".join(["middle_block", index, *_inside(words[3:])])
    block, kind, inside = int(words[1]), words[2], _inside(words[4:])
    if words[0] == "down_blocks":
        first = 1 + block * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op"
        return ".".join([f"input_blocks.{first + int(words[3])}", "1" if kind == "attentions" else "0", *inside])
    first = block * (layers + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.2.conv"
    return ".".join([f"output_blocks.{first + int(words[3])}", "1" if kind == "attentions" else "0", *inside])


def _inside(words: list[str]) -> list[str]:
    names = _RESNET | {"conv_shortcut": "skip_connection"}
    return [names.get(words[0], words[0]), *words[1:]]
