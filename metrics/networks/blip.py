"""ImageReward's and CycleReward's network on transformers: official keys for BlipVisionModel, BlipTextModel and a head.

All sizes are read from the tensors, so that small checkpoints of the same form load too; only the number of text
attention heads (which no shape shows) comes from med_config.json. Vision heads are 64 wide, as in BLIP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metrics.errors import MissingWeightsError
from metrics.weights.state_dict import check_keys, load_strict

_HEAD_WIDTH = 64
_BERT_WIDTH, _BERT_HEADS = 768, 12
"""Of the published text towers. The number of heads shows in no tensor: another one loads, and scores otherwise."""
_VISION = (
    (r"cls_token", "embeddings.class_embedding"),
    (r"pos_embed", "embeddings.position_embedding"),
    (r"patch_embed\.proj\.(weight|bias)", r"embeddings.patch_embedding.\1"),
    (r"blocks\.(\d+)\.norm([12])\.(\w+)", r"encoder.layers.\1.layer_norm\2.\3"),
    (r"blocks\.(\d+)\.attn\.qkv\.(\w+)", r"encoder.layers.\1.self_attn.qkv.\2"),
    (r"blocks\.(\d+)\.attn\.proj\.(\w+)", r"encoder.layers.\1.self_attn.projection.\2"),
    (r"blocks\.(\d+)\.mlp\.(fc[12])\.(\w+)", r"encoder.layers.\1.mlp.\2.\3"),
    (r"norm\.(\w+)", r"post_layernorm.\1"),
)
# Projections for BLIP's contrastive loss, and a buffer that holds 0, 1, 2, ...: ImageReward uses none of them.
_DROPPED = re.compile(r"blip\.(vision_proj|text_proj)\..*|blip\.text_encoder\.embeddings\.position_ids")


@dataclass(frozen=True, slots=True)
class HeadForm:
    """How a published head is numbered: places of its linear layers in `mlp.layers`, and whether GELUs lie between.

    The numbers tell the publishers' checkpoints apart, which are alike in all other keys.
    """

    owner: str
    places: tuple[int, ...]
    gelu: bool = False


IMAGE_REWARD = HeadForm("ImageReward", (0, 2, 4, 6, 7))  # dropouts between, and none before the last
CYCLE_REWARD = HeadForm("CycleReward", (0, 2, 4, 6, 8), gelu=True)
_FORMS = (IMAGE_REWARD, CYCLE_REWARD)


class BlipReward(nn.Module):
    """Vision tower, text tower with cross-attention, and the reward head."""

    def __init__(self, vision: Any, text: Any, head: nn.Sequential) -> None:
        super().__init__()
        self.vision = vision
        self.text = text
        self.head = head
        self.words = int(text.config.vocab_size)
        self.positions = int(text.config.max_position_embeddings)
        self.image_size = int(vision.config.image_size)

    def reward(self, image_tokens: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Image tokens [B, T, D], ids and mask [B, L] -> raw rewards [B] (before the published scale)."""
        # `is_decoder` stays False in the call (bidirectional text); only the config has it, for the cross-attention
        output = self.text(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=image_tokens,
            encoder_attention_mask=torch.ones(image_tokens.shape[:2], dtype=torch.long, device=ids.device),
        )
        raw: Tensor = self.head(output.last_hidden_state[:, 0].float())
        return raw.squeeze(-1)


def split_state(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], ...]:
    """The official state dict as three with the names of transformers: vision, text, head."""
    vision: dict[str, Tensor] = {}
    text: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    unknown = []
    for key, value in state.items():
        if _DROPPED.fullmatch(key):
            continue
        if key.startswith("blip.visual_encoder."):
            short = key.removeprefix("blip.visual_encoder.")
            for pattern, name in _VISION:
                if re.fullmatch(pattern, short):
                    vision[re.sub(pattern, name, short)] = value
                    break
            else:
                unknown.append(key)
        elif key.startswith("blip.text_encoder."):
            text[key.removeprefix("blip.text_encoder.")] = value
        elif key.startswith("mlp.layers."):
            head[key.removeprefix("mlp.layers.")] = value
        else:
            unknown.append(key)
    needed = {
        "blip.visual_encoder.pos_embed": vision.get("embeddings.position_embedding"),
        "blip.visual_encoder.patch_embed.proj.weight": vision.get("embeddings.patch_embedding.weight"),
        "blip.visual_encoder.blocks.0.mlp.fc1.weight": vision.get("encoder.layers.0.mlp.fc1.weight"),
        "blip.text_encoder.embeddings.word_embeddings.weight": text.get("embeddings.word_embeddings.weight"),
        "blip.text_encoder.embeddings.position_embeddings.weight": text.get("embeddings.position_embeddings.weight"),
        "blip.text_encoder.encoder.layer.0.intermediate.dense.weight": text.get(
            "encoder.layer.0.intermediate.dense.weight"
        ),
        "mlp.layers.0.weight": head.get("0.weight"),
    }
    check_keys([key for key, value in needed.items() if value is None], unknown, where)
    return vision, text, head


def _depth(state: Mapping[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, key) for key in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _vision_tower(state: Mapping[str, Tensor], where: str) -> Any:
    from transformers.models.blip.configuration_blip import BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel

    width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
    grid = round((state["embeddings.position_embedding"].shape[1] - 1) ** 0.5)
    if width % _HEAD_WIDTH:
        raise MissingWeightsError(f"{where}: the vision width {width} is not a multiple of {_HEAD_WIDTH}")
    config = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=state["encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_depth(state, r"encoder\.layers\.(\d+)\."),
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=grid * patch,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-6,  # timm's; transformers' default is 1e-5
    )
    with torch.device("meta"):
        tower = BlipVisionModel(config)
    load_strict(tower, state, where)
    return tower


def _text_tower(state: Mapping[str, Tensor], heads: int, vision_width: int, where: str) -> Any:
    from transformers.models.blip.configuration_blip import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    words, width = state["embeddings.word_embeddings.weight"].shape
    positions = state["embeddings.position_embeddings.weight"].shape[0]
    _check_heads(heads, width, where)
    config = BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=vision_width,
        intermediate_size=state["encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=_depth(state, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=heads,
        max_position_embeddings=positions,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        is_decoder=True,  # creates the cross-attention
        bos_token_id=None,
        eos_token_id=None,
        sep_token_id=None,
    )
    with torch.device("meta"):
        tower = BlipTextModel(config, add_pooling_layer=False)
    load_strict(tower, state, where)
    tower.embeddings.position_ids = torch.arange(positions).expand((1, -1))  # not in the checkpoint: still on meta
    return tower


def _check_heads(heads: int, width: int, where: str) -> None:
    if heads < 1 or width % heads:
        raise MissingWeightsError(f"{where}: med_config.json gives {heads} heads, which do not divide width {width}")
    if width == _BERT_WIDTH and heads != _BERT_HEADS:
        raise MissingWeightsError(
            f"{where}: med_config.json gives {heads} attention heads, the published text tower of width {width} has "
            f"{_BERT_HEADS}: put the published med_config.json beside the weights, or remove it"
        )


def text_heads(med_config: Mapping[str, Any] | None, state: Mapping[str, Tensor], where: str) -> int:
    """The attention heads of the text tower: what med_config.json says, or the published number for its width.

    MissingWeightsError where the file is absent and the tower is not of the published width, or says no integer.
    """
    if med_config is None:
        width = state["embeddings.word_embeddings.weight"].shape[1]
        if width != _BERT_WIDTH:
            raise MissingWeightsError(
                f"{where}: a text tower of width {width} does not tell its number of attention heads: put "
                "med_config.json with num_attention_heads beside the weights"
            )
        return _BERT_HEADS
    heads = med_config.get("num_attention_heads", _BERT_HEADS)
    if not isinstance(heads, int) or isinstance(heads, bool):
        raise MissingWeightsError(f"{where}: num_attention_heads in med_config.json is {heads!r}, not an integer")
    return heads


def _head(state: Mapping[str, Tensor], form: HeadForm, where: str) -> nn.Sequential:
    """The published stack of linear layers; dropouts between them are nothing in eval mode."""
    places = tuple(sorted({int(key.split(".")[0]) for key in state if key.split(".")[0].isdigit()}))
    if places != form.places:
        owner = next((f", which is the head of {one.owner}" for one in _FORMS if one.places == places), "")
        raise MissingWeightsError(
            f"{where}: its layers are numbered {', '.join(map(str, places))}{owner}; {form.owner}'s are "
            f"{', '.join(map(str, form.places))}: give the weights of {form.owner}"
        )
    weights = [state.get(f"{place}.weight") for place in places]
    linear = [nn.Linear(w.shape[1], w.shape[0]) for w in weights if w is not None and w.dim() == 2]
    layers: list[nn.Module] = []
    for layer in linear:
        layers += [nn.GELU(), layer] if layers and form.gelu else [layer]
    head = nn.Sequential(*layers)
    step = 2 if form.gelu else 1
    renumbered = {str(place): str(step * number) for number, place in enumerate(places)}
    renamed = {renumbered.get(k.partition(".")[0], k) + "." + k.partition(".")[2]: v for k, v in state.items()}
    load_strict(head, renamed, where)
    return head


def build(
    state: Mapping[str, Tensor], med_config: Mapping[str, Any] | None, where: str, form: HeadForm = IMAGE_REWARD
) -> BlipReward:
    """The network of an official ImageReward or CycleReward state dict, float32, frozen, in eval mode.

    `med_config` gives num_attention_heads of the text tower; None: there is no such file. MissingWeightsError names
    missing or extra keys.
    """
    vision, text, head = split_state(state, where)
    tower = _vision_tower(vision, where)
    heads = text_heads(med_config, text, where)
    network = BlipReward(
        tower, _text_tower(text, heads, tower.config.hidden_size, where), _head(head, form, f"{where} (head)")
    )
    network.requires_grad_(False).eval()
    return network


def tokenizer_for(vocabulary: Path, words: int, where: str) -> Any:
    """BERT's uncased tokenizer with BLIP's [DEC] and [ENC] behind the vocabulary where the weights have rows for them.

    The two are never inserted; they only take part when a prompt contains their literal text, as officially.
    """
    from transformers import BertTokenizer

    try:
        lines = vocabulary.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # other separators are tokens
        tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(lines)})
    except Exception as error:  # unreadable file, or a vocabulary without [UNK], [CLS], ...
        raise MissingWeightsError(f"{where}: vocabulary '{vocabulary}' cannot be used ({error})") from error
    if len(tokenizer) + 2 <= words:
        tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        tokenizer.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
    if len(tokenizer) > words:
        raise MissingWeightsError(
            f"{where}: '{vocabulary}' has {len(tokenizer)} tokens, the weights {words}: they do not belong together"
        )
    return tokenizer
