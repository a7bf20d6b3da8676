"""Trains the three small scorers, each on the choices of its own pool and in the format of its real model.

PickScore: a transformers CLIPModel folder. HPSv2: an open_clip state dict. ImageReward: BLIP with an MLP head
under the official key names. All are trained on pairs by the Bradley-Terry likelihood, as the originals are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertTokenizer, BlipTextConfig, BlipVisionConfig, CLIPConfig, CLIPModel
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from bench.shapes.annotator import POOLS
from bench.shapes.build.bank import Bank, Pairs, bank, draw_pairs
from bench.shapes.build.data import normalised
from bench.shapes.build.features import Readings
from bench.shapes.build.matching import learn_to_match
from bench.shapes.build.parallel import Recipe, Worker, fit
from bench.shapes.build.text import tokenize
from bench.shapes.build.tokens import MAX_LENGTH, write_bert_vocabulary, write_clip_tokenizer, write_open_clip_merges

SEED = 51
PAIRS = 40_000
TEST_PAIRS = 3_000
BATCH = 32
READINGS_WEIGHT = 0.3
RECIPE = Recipe(steps=1_500, learning_rate=1.5e-3, warmup=60, ema=0.99, weight_decay=1e-2)
IMAGE_REWARD_MEAN, IMAGE_REWARD_STD = 0.16717362830052426, 1.0333394966054072
ID_LIMIT = 35
START = 0.08
"""Deviation of the small BLIP's first weights. transformers starts the picture's side from 1e-10 and the text side from
0.02, which suits a width of 768: at 64 the picture hardly reached the text, and captions were never read."""
VISION_WIDTH, VISION_LAYERS, PATCH = 96, 3, 8


class Scorer(nn.Module):
    """A picture and a caption -> a score and the picture's embedding (for the auxiliary readings)."""

    width: int

    def forward(self, images: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Normalised pixels [N, 3, 64, 64] and N captions -> logits [N] and embeddings [N, width]."""
        raise NotImplementedError

    def prepare(self, seen: Bank) -> None:
        """Whatever the network learns before it sees a preference; nothing by default."""

    def save(self, folder: Path) -> None:
        """Write the checkpoint in the real model's format."""
        raise NotImplementedError


class SmallPickScore(Scorer):
    """exp(logit_scale) cos(image, text) with a transformers CLIPModel."""

    width = 64

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer = write_clip_tokenizer(folder)
        text = {
            "vocab_size": len(self.tokenizer), "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": MAX_LENGTH,
            "bos_token_id": self.tokenizer.bos_token_id, "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
        }  # fmt: skip
        vision = {
            "hidden_size": VISION_WIDTH, "intermediate_size": 3 * VISION_WIDTH, "num_hidden_layers": VISION_LAYERS,
            "num_attention_heads": 4, "image_size": 64, "patch_size": PATCH,
        }  # fmt: skip
        self.clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=self.width))

    def forward(self, images: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        image = self.clip.get_image_features(pixel_values=images).pooler_output
        text = self.clip.get_text_features(input_ids=tokenize(self.tokenizer, captions)).pooler_output
        return self.clip.logit_scale.exp() * F.cosine_similarity(image, text), image

    def save(self, folder: Path) -> None:
        self.clip.save_pretrained(folder)


class SmallHPS(Scorer):
    """cos(image, text) with an open_clip CLIP; trained with its logit scale, reported without."""

    width = 64

    def __init__(self, folder: Path) -> None:
        super().__init__()
        merges = write_open_clip_merges(folder)
        self.tokenizer = SimpleTokenizer(bpe_path=str(merges), context_length=MAX_LENGTH)
        self.config = {
            "embed_dim": self.width,
            "vision_cfg": {
                "image_size": 64, "layers": VISION_LAYERS, "width": VISION_WIDTH, "head_width": 24, "patch_size": PATCH,
                "mlp_ratio": 3.0,
            },
            "text_cfg": {
                "context_length": MAX_LENGTH, "vocab_size": self.tokenizer.vocab_size, "width": 64, "heads": 4,
                "layers": 2,
            },
        }  # fmt: skip
        self.clip = open_clip.CLIP(**self.config)

    def forward(self, images: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        image = self.clip.encode_image(images)
        text = self.clip.encode_text(self.tokenizer(captions))
        return self.clip.logit_scale.exp() * F.cosine_similarity(image, text), image

    def save(self, folder: Path) -> None:
        save_file(
            {k: v.half().contiguous() for k, v in self.clip.state_dict().items()},
            folder / "HPS_v2.1_shapes.safetensors",
        )
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": self.config}, indent=2) + "\n")


class SmallImageReward(Scorer):
    """BLIP's image-grounded text encoder and a linear stack, normalised as ImageReward publishes it."""

    width = 128

    def __init__(self, folder: Path) -> None:
        super().__init__()
        vocabulary = write_bert_vocabulary(folder)
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        size = len(vocabulary.read_text().splitlines()) + 2  # [DEC] and [ENC] come behind, as in BLIP
        self.config = {
            "vocab_size": size, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 64, "encoder_width": self.width,
        }  # fmt: skip
        self.vision = BlipVisionModel(
            BlipVisionConfig(
                hidden_size=self.width, intermediate_size=4 * self.width, num_hidden_layers=VISION_LAYERS,
                num_attention_heads=2, image_size=64, patch_size=PATCH, hidden_act="gelu", layer_norm_eps=1e-6,
                initializer_range=START,
            )
        )  # fmt: skip
        self.text = BlipTextModel(
            BlipTextConfig(
                vocab_size=size, hidden_size=64, encoder_hidden_size=self.width, intermediate_size=192,
                num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, hidden_act="gelu",
                layer_norm_eps=1e-12, is_decoder=True, bos_token_id=0, sep_token_id=3, initializer_range=START,
            ),
            add_pooling_layer=False,
        )  # fmt: skip
        widths = (64, 64, 32, 16, 16, 1)
        layers: list[nn.Module] = []
        for index, (wide, narrow) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(wide, narrow))
            if index < 3:
                layers.append(nn.Dropout(0.0))  # the places of the original's dropouts, which number its keys
        self.mlp = nn.Sequential(*layers)

    def forward(self, images: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        hidden, embedding = self.read(images, captions)
        return (self.mlp(hidden).squeeze(1) - IMAGE_REWARD_MEAN) / IMAGE_REWARD_STD, embedding

    def read(self, images: Tensor, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Pixels and captions -> the text's [CLS] that has seen the picture [N, 64], and the picture's own [N, 128]."""
        states = self.vision(pixel_values=images).last_hidden_state
        tokens = self.tokenizer(captions, padding=True, truncation=True, max_length=ID_LIMIT, return_tensors="pt")
        hidden: Tensor = self.text(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
        ).last_hidden_state[:, 0]
        return hidden, states[:, 0]

    def prepare(self, seen: Bank) -> None:
        learn_to_match(self.read, nn.ModuleList([self.vision, self.text]), (64, self.width), seen)

    def save(self, folder: Path) -> None:
        state = {f"blip.visual_encoder.{official_vision_key(k)}": v for k, v in self.vision.state_dict().items()}
        state |= {
            f"blip.text_encoder.{k}": v for k, v in self.text.state_dict().items() if not k.endswith("position_ids")
        }
        state |= {f"mlp.layers.{k}": v for k, v in self.mlp.state_dict().items()}
        save_file({k: v.half().contiguous() for k, v in state.items()}, folder / "ImageReward.safetensors")
        (folder / "med_config.json").write_text(json.dumps(self.config, indent=2) + "\n")


_OFFICIAL = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^encoder\.layers\.(\d+)\.layer_norm", r"blocks.\1.norm"),
    (r"^encoder\.layers\.(\d+)\.self_attn\.qkv\.", r"blocks.\1.attn.qkv."),
    (r"^encoder\.layers\.(\d+)\.self_attn\.projection\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layers\.(\d+)\.mlp\.", r"blocks.\1.mlp."),
    (r"^post_layernorm\.", "norm."),
)


def official_vision_key(key: str) -> str:
    """transformers' name of a BLIP vision weight -> the name in ImageReward's published file."""
    for pattern, replacement in _OFFICIAL:
        renamed, count = re.subn(pattern, replacement, key)
        if count:
            return renamed
    raise KeyError(f"no official name is known for the BLIP vision weight '{key}'")


SCORERS: dict[str, Callable[[Path], Scorer]] = {
    "pickscore": SmallPickScore,
    "hpsv2": SmallHPS,
    "image_reward": SmallImageReward,
}


def fit_scorer(scorer: Scorer, seen: Bank, pairs: Pairs, name: str) -> None:
    """Bradley-Terry likelihood of the choices, plus readings of what each picture shows."""
    readings = Readings(scorer.width)
    rng = np.random.default_rng(SEED + 1)

    def loss_of(step: int) -> Tensor:
        rows = rng.integers(len(pairs.captions), size=BATCH)
        shown = np.concatenate([pairs.first[rows], pairs.second[rows]])
        scores, embeddings = scorer(normalised(seen.images[shown]), [pairs.captions[r] for r in rows] * 2)
        first, second = scores.chunk(2)
        choice = F.binary_cross_entropy_with_logits(first - second, pairs.prefers_first[rows])
        read = torch.as_tensor(readings(embeddings, seen.classes[shown], seen.measures[shown]))
        return choice + READINGS_WEIGHT * read

    for _ in fit(nn.ModuleList([scorer, readings]), loss_of, RECIPE, Worker(0, 1), name):
        pass
    scorer.eval()


@torch.no_grad()
def margins(scorer: Scorer, seen: Bank, pairs: Pairs) -> Tensor:
    """Score of the first minus score of the second picture of each pair."""
    out = []
    for start in range(0, len(pairs.captions), 128):
        part = slice(start, start + 128)
        first, _ = scorer(normalised(seen.images[pairs.first[part]]), pairs.captions[part])
        second, _ = scorer(normalised(seen.images[pairs.second[part]]), pairs.captions[part])
        out.append(first - second)
    return torch.cat(out)


def train_one(name: str, out: Path) -> None:
    """Train one scorer and write `out/<name>`."""
    rng = np.random.default_rng(SEED)
    seen = bank(out, "train")
    pairs = draw_pairs(seen, POOLS[name], PAIRS, rng)
    torch.manual_seed(SEED)
    (out / name).mkdir(parents=True, exist_ok=True)
    scorer = SCORERS[name](out / name)
    scorer.prepare(seen)
    fit_scorer(scorer, seen, pairs, name)
    scorer.save(out / name)
    test_bank = bank(out, "test")
    test = draw_pairs(test_bank, POOLS[name], TEST_PAIRS, rng)
    says = (margins(scorer, test_bank, test) > 0).float()
    noisy, certain = float((says == test.prefers_first).float().mean()), float((says == test.certain).float().mean())
    ceiling = float((test.certain == test.prefers_first).float().mean())
    print(
        f"{name}: held-out pairwise accuracy {noisy:.3f} (annotators' own {ceiling:.3f}), without noise {certain:.3f}"
    )
