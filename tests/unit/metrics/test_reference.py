"""The scorers against the networks written out again, in plain torch or in their library's own words.

What is compared here are the key maps, the numerical constants and the order of steps; parity with the original
packages is a matter of tests/parity.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from metrics.networks.preprocess import to_unit
from tests.tolerance import assert_close
from tests.unit.metrics.checkpoints import picture

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
TEXTS = ["a red circle", "a big blue square on the left", "a red circle"]


def frames() -> list[Any]:
    return [picture(seed, 32, 32) for seed in range(3)]


def pixels() -> Tensor:
    return torch.stack([(to_unit(frame) - MEAN) / STD for frame in frames()])


class Blip:
    """ImageReward's forward pass with the official parameter names, after the paper's code structure."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            logits = logits.masked_fill(mask[:, None, None] == 0, float("-inf"))
        return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def vision(self, x: Tensor) -> Tensor:
        root, state = "blip.visual_encoder", self.state
        name = f"{root}.patch_embed.proj"
        x = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=8).flatten(2).transpose(1, 2)
        x = torch.cat([state[f"{root}.cls_token"].expand(len(x), -1, -1), x], dim=1) + state[f"{root}.pos_embed"]
        for block in (f"{root}.blocks.{i}" for i in range(2)):
            q, k, v = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
            x = x + self.linear(f"{block}.attn.proj", self.attend(q, k, v, heads=1))
            inner = functional.gelu(self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", x, 1e-6)))
            x = x + self.linear(f"{block}.mlp.fc2", inner)
        return self.norm(f"{root}.norm", x, 1e-6)

    def layer_attention(self, name: str, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (self.linear(f"{name}.self.{p}", s) for p, s in (("query", x), ("key", source), ("value", source)))
        found = self.linear(f"{name}.output.dense", self.attend(q, k, v, heads=2, mask=mask))
        return self.norm(f"{name}.output.LayerNorm", found + x, 1e-12)

    def text(self, ids: Tensor, mask: Tensor, image: Tensor) -> Tensor:
        root, state = "blip.text_encoder", self.state
        x = state[f"{root}.embeddings.word_embeddings.weight"][ids]
        x = x + state[f"{root}.embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(f"{root}.embeddings.LayerNorm", x, 1e-12)
        for layer in (f"{root}.encoder.layer.{i}" for i in range(2)):
            x = self.layer_attention(f"{layer}.attention", x, x, mask)
            x = self.layer_attention(f"{layer}.crossattention", x, image, None)
            inner = functional.gelu(self.linear(f"{layer}.intermediate.dense", x))
            x = self.norm(f"{layer}.output.LayerNorm", self.linear(f"{layer}.output.dense", inner) + x, 1e-12)
        return x

    def score(self, inputs: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.text(ids, mask, self.vision(inputs))[:, 0]
        for index in (0, 2, 4, 6, 7):
            x = self.linear(f"mlp.layers.{index}", x)
        return (x[:, 0] - 0.16717362830052426) / 1.0333394966054072


def test_image_reward(weights: dict[str, Path], loaded: Any) -> None:
    metric = loaded["image_reward"]
    tokens = metric.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    network = Blip(load_file(weights["image_reward"] / "ImageReward.safetensors"))
    wanted = network.score(pixels(), tokens.input_ids, tokens.attention_mask)
    assert wanted.std() > 0.1
    assert_close(metric.score(frames(), TEXTS), wanted)


def test_hpsv2(weights: dict[str, Path], loaded: Any) -> None:
    """The library's own way: an ordinary module, load_state_dict, its own causal mask and normalisation."""
    import open_clip

    folder = weights["hpsv2.1"]
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    model = open_clip.CLIP(**config).eval()
    model.load_state_dict(load_file(folder / "HPS_v2.1_shapes.safetensors"))
    tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe_simple_vocab.txt.gz"), context_length=20)
    with torch.no_grad():
        images = model.encode_image(pixels(), normalize=True)
        wanted = (images * model.encode_text(tokenizer(TEXTS), normalize=True)).sum(dim=-1)
    assert wanted.std() > 1e-3
    assert_close(loaded["hpsv2.1"].score(frames(), TEXTS), wanted)


def test_pickscore(weights: dict[str, Path], loaded: Any) -> None:
    """`logits_per_image` of the model called as a whole, with texts padded to the full length."""
    from transformers import CLIPModel, CLIPTokenizer

    folder = weights["pickscore"]
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=20, return_tensors="pt")
    with torch.no_grad():
        wanted = model(pixel_values=pixels(), **tokens).logits_per_image.diagonal()
    assert wanted.std() > 0.1
    assert_close(loaded["pickscore"].score(frames(), TEXTS), wanted)
