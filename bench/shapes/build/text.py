"""Trains the generator's text encoder: a small CLIPTextModel that can tell which attributes a caption names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bench.shapes.build.parallel import Recipe, Worker, fit
from bench.shapes.build.tokens import MAX_LENGTH, write_clip_tokenizer
from bench.shapes.captions import ATTRIBUTES, VALUES, caption, random_named
from bench.shapes.world import random_scene

SEED = 21
BATCH = 128
RECIPE = Recipe(steps=800, learning_rate=2e-3, warmup=50)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained text encoder: width 64, 2 layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            projection_dim=64,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class _Probe(nn.Module):
    """The encoder with one linear reading per attribute, from the end-of-text state and from the padding."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList([nn.Linear(64, len(VALUES[a]) + 1) for a in ATTRIBUTES])

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        states = self.encoder(ids).last_hidden_state
        read = torch.cat([states[:, -1], states[:, 14]])
        losses = [F.cross_entropy(head(read), labels[:, i].repeat(2)) for i, head in enumerate(self.heads)]
        return torch.stack(losses).sum()


def label_of(named: dict[str, str]) -> list[int]:
    """Class per attribute: 0 for unnamed, else 1 + the value's place."""
    return [VALUES[a].index(named[a]) + 1 if a in named else 0 for a in ATTRIBUTES]


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids [N, 24], padded as Stable Diffusion pads."""
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
    return torch.as_tensor(ids.input_ids)


def train(worker: Worker, out: Path) -> None:
    """Train on caption -> named attributes; write `out/tokenizer` and `out/text_encoder`."""
    if not worker.leads:
        raise ValueError("the text encoder is trained in one process")
    tokenizer = write_clip_tokenizer(out / "tokenizer")
    torch.manual_seed(SEED)
    probe = _Probe(new_text_encoder(tokenizer))
    rng = np.random.default_rng(SEED)

    def loss_of(step: int) -> Tensor:
        named = [random_named(random_scene(rng), rng) for _ in range(BATCH)]
        ids = tokenize(tokenizer, [caption(n) for n in named])
        return torch.as_tensor(probe(ids, torch.tensor([label_of(n) for n in named])))

    for _ in fit(probe, loss_of, RECIPE, worker, "text"):
        pass
    probe.encoder.eval().save_pretrained(out / "text_encoder")
