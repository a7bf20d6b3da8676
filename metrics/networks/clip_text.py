"""CLIP's text side: prompts -> projected embeddings, from a CLIPModel folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metrics.networks.clip_config import read_clip_config
from metrics.networks.clip_image import CLIP_FILES
from metrics.networks.clip_tokenizer import load_tokenizer, tokenizer_files
from metrics.networks.hf_folder import TOKENIZER_FILES, load_folder, weight_files
from metrics.weights.hub import locate
from metrics.weights.pins import pinned

CLIP_TEXT = "openai/clip-vit-large-patch14"
_DROP = (
    r"vision_model\..*",
    r"visual_projection\..*",
    r"logit_scale",
    r"text_model\.embeddings\.position_ids",
)


def clip_folder(given: object) -> Path:
    """The folder of the CLIP that an option names (a file inside it stands for it), else that of `CLIP_TEXT`."""
    place = locate(str(given) if given else pinned(CLIP_TEXT), CLIP_FILES + TOKENIZER_FILES)
    return place.parent if place.is_file() else place


class ClipTextEncoder:
    """L2-normalised text embeddings of a CLIP."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, limit: int) -> None:
        self.model, self.tokenizer, self.device, self.limit = model, tokenizer, device, limit

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """Prompts -> (embeddings, float32 [P, E] on the CPU,); longer prompts are cut, keeping the end token."""
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=self.limit, return_tensors="pt")
        tokens = tokens.to(self.device)
        found = self.model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).text_embeds
        return (functional.normalize(found.float(), dim=-1).cpu(),)


def load_clip_text(folder: Path, what: str, device: torch.device) -> tuple[ClipTextEncoder, list[Path]]:
    """The text encoder of a CLIPModel folder, in float32, and the files that decide its embeddings."""
    from transformers import CLIPTextModelWithProjection

    config = read_clip_config(folder, what)
    text = config.text_config
    text.projection_dim = config.projection_dim  # a saved text_config may hold its class's default instead
    model = load_folder(CLIPTextModelWithProjection, folder, what, drop=_DROP, config=text).to(device)
    tokenizer = load_tokenizer(folder, int(text.vocab_size), what)
    encoder = ClipTextEncoder(model, tokenizer, device, int(text.max_position_embeddings))
    return encoder, [*weight_files(folder, what), *tokenizer_files(folder)]
