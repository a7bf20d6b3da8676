"""What an adapter is that does not fit: its kind and the model that it was made for, from the names of its layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.models.adapters.factors import TITLES as KINDS
from bench.models.adapters.keys import NETWORK, Key
from bench.models.families import TITLES, family_of_config
from bench.models.loading import first_few

# Parts of layers' names (with underscores) that only one model has; the first that is found decides.
_MARKS = (
    ("qwen_image", ("_img_mlp_net_", "_txt_mlp_net_", "_img_mod_1", "_txt_mod_1")),
    ("Wan", ("blocks_0_cross_attn_k", "blocks_0_self_attn_", "condition_embedder_time_embedder")),
    ("z_image", ("noise_refiner", "context_refiner", "layers_0_attention_", "layers_0_feed_forward_")),
    ("flux2", ("double_stream_modulation", "single_stream_modulation", "_to_qkv_mlp_proj", "_ff_linear_in")),
    ("sana", ("_ff_conv_inverted", "_ff_conv_point", "_mlp_inverted_conv", "_mlp_point_conv")),
    ("HunyuanVideo", ("individual_token_refiner", "img_attn_q_norm", "img_attn_qkv_linear")),
    ("Stable Cascade", ("_channelwise_", "lora_prior_")),
    ("flux", ("single_transformer_blocks", "double_blocks_", "single_blocks_", "double_stream", "single_stream")),
    ("sd3", ("joint_blocks_", "_attn_add_q_proj", "_attn_add_k_proj")),
    ("pixart", ("adaln_single", "blocks_0_cross_attn_kv_linear", "caption_projection")),
    ("sdxl", ("te2_text_model", "_transformer_blocks_1_attn", "label_emb_0_0", "add_embedding")),
    ("sd", ("down_blocks_", "up_blocks_", "input_blocks_", "output_blocks_", "mid_block_", "middle_block_")),
    ("pixart", ("transformer_blocks_0_attn1_", "transformer_blocks_0_attn2_")),
)


def model_of_names(names: Iterable[str]) -> str | None:
    """The model that layers of these names belong to: a family, or the name of a model that is of none."""
    flat = [f"_{name.replace('.', '_')}" for name in names]
    return next((model for model, marks in _MARKS if any(mark in name for name in flat for mark in marks)), None)


def kind_of(keys: Iterable[Key]) -> str:
    """What most of an adapter's layers are: "a LoRA", "a LoHa adapter", "an OFT adapter"."""
    found = list(keys)
    counted = Counter(one.kind for one in found if one.kind in KINDS)
    kind = KINDS[counted.most_common(1)[0][0]] if counted else "adapter"
    if kind == "LoRA" and any(one.factor in ("magnitude", "dora_scale") for one in found):
        kind = "DoRA"
    article = "an" if kind[0] in "aO" else "a"
    return (
        f"{article} {kind}" if kind in ("LoRA", "DoRA", "adapter", "weight difference") else f"{article} {kind} adapter"
    )


def of_another_model(
    path: Path, base: Any, keys: Iterable[Key], strange: Sequence[str], some_fit: bool
) -> MissingError:
    """The error for an adapter with layers that the suite's model has not."""
    found = list(keys)
    config = {**getattr(base, "config", {}), "_class_name": type(base).__name__}
    own = family_of_config(config)
    ours = TITLES.get(own or "", type(base).__name__)
    model = model_of_names(f"{one.prefix}{one.layer}" for one in found)
    what = kind_of(found)
    if model is not None and model != own:
        known = f"; families read: {', '.join(TITLES.values())}; docs/plugins.md tells how to add one"
        return MissingError(
            f"{path} is {what} for {TITLES.get(model, model)}, and the suite's model is {ours}"
            f"{'' if model in TITLES else known}."
        )
    if all(one.part != NETWORK for one in found):
        return MissingError(
            f"{path} is {what} for text encoders that the suite's model ({ours}) has not: {first_few(strange)}."
        )
    count = "some of its layers are" if some_fit else "its layers are"
    return MissingError(
        f"{path} is {what} of another model than the suite's ({ours}): {count} not in it: {first_few(strange)}."
    )
