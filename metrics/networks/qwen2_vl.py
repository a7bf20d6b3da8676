"""Qwen2-VL with a reward head, as HPSv3 publishes it: one safetensors file beside the base model's configuration.

The published keys are those of transformers 4.45 (`visual.*`, `model.*`, `lm_head.*`, `rm_head.*`); they are renamed
for the installed transformers, nothing may be missing or left over, and `lm_head`, which the reward does not use, is
left unread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metrics.errors import MissingWeightsError, first_line
from metrics.networks.hf_folder import quiet
from metrics.weights.state_dict import check_keys, load_strict, read_json, read_state

_HEAD = {"0": "0", "3": "2", "5": "4"}  # the dropout behind the first ReLU has no weights and is nothing here
_RENAMED = (
    (re.compile(r"(?:model\.)?visual\.(.+)"), r"visual.\1"),
    (re.compile(r"model\.language_model\.(.+)"), r"language_model.\1"),
    (re.compile(r"model\.(.+)"), r"language_model.\1"),
)


def split_state(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The published state dict as two: the backbone with today's names, and the head. MissingWeightsError otherwise."""
    backbone: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    unknown = []
    for key, value in state.items():
        if key.startswith("rm_head."):
            place, _, rest = key.removeprefix("rm_head.").partition(".")
            if place in _HEAD:
                head[f"{_HEAD[place]}.{rest}"] = value
                continue
        if key == "lm_head.weight":
            continue
        found = next((pattern.sub(name, key) for pattern, name in _RENAMED if pattern.fullmatch(key)), None)
        if found is None:
            unknown.append(key)
        else:
            backbone[found] = value
    needed = ["language_model.embed_tokens.weight", *(f"{place}.weight" for place in _HEAD.values())]
    check_keys([key for key in needed if key not in backbone and key not in head], sorted(unknown), where)
    return backbone, head


class RewardVLM(nn.Module):
    """The backbone and the head; `tokens` is the number of rows of the embedding."""

    def __init__(self, backbone: Any, head: nn.Sequential) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.tokens = int(backbone.language_model.embed_tokens.weight.shape[0])
        self.image_token = int(backbone.config.image_token_id)
        self.merge = int(backbone.config.vision_config.spatial_merge_size)

    def read(self, ids: Tensor, pixels: Tensor, grid: Tensor, place: int) -> Tensor:
        """Token ids [1, L], patches [P, C] and their grid [1, 3] -> what the head says at a place, float32 [outputs].

        The tokens are numbered 0, 1, 2, ... in all three of the rotary embedding's axes, image tokens too: the original
        replaces the forward pass of its base class, and with it the step that would number an image by rows and
        columns.
        """
        inputs = self.backbone.language_model.embed_tokens(ids)
        features = self.backbone.get_image_features(pixels, grid).pooler_output[0]
        mask = (ids == self.image_token)[..., None].expand_as(inputs)
        inputs = inputs.masked_scatter(mask, features.to(inputs.dtype))
        hidden = self.backbone.language_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        said: Tensor = self.head(hidden[0, place].float())
        return said


def build(path: Path, config_file: Path, dtype: torch.dtype | None, where: str) -> RewardVLM:
    """The network of a published file, frozen, in eval mode; `dtype` is the backbone's (None: the file's)."""
    from transformers import Qwen2VLConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    state, tensors = split_state(read_state(path), where)
    content = read_json(config_file, where)
    if content.get("model_type") != "qwen2_vl":
        raise MissingWeightsError(
            f"{where}: '{config_file}' is of a model of type '{content.get('model_type')}', not the qwen2_vl it needs"
        )
    try:
        with quiet():
            config = Qwen2VLConfig.from_pretrained(str(config_file.parent), local_files_only=True)
            config.text_config.vocab_size = len(state["language_model.embed_tokens.weight"])
            chosen = dtype or state["language_model.embed_tokens.weight"].dtype
            backbone, report = Qwen2VLModel.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=chosen,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except Exception as error:  # transformers checks the values in many ways
        reason = first_line(error)
        raise MissingWeightsError(
            f"{where}: the network cannot be built ({type(error).__name__}: {reason}): the weights and config.json do "
            "not belong together"
        ) from error
    check_keys(sorted(report["missing_keys"]), sorted(report["unexpected_keys"]), where)
    if report["mismatched_keys"]:
        raise MissingWeightsError(f"{where}: shapes disagree with config.json: the two files do not belong together")
    widths = [tensors[f"{place}.weight"].shape for place in _HEAD.values()]
    head = nn.Sequential(
        nn.Linear(widths[0][1], widths[0][0]),
        nn.ReLU(),
        nn.Linear(widths[1][1], widths[1][0]),
        nn.ReLU(),
        nn.Linear(widths[2][1], widths[2][0]),
    )
    load_strict(head, tensors, f"{where} (head)")
    return RewardVLM(backbone.requires_grad_(False).eval(), head)
