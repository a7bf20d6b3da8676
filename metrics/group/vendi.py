"""Vendi score (Friedman and Dieng 2023, arXiv 2210.02410): the effective number of different images of a prompt, 1..K.

Of any order q (Pasarkar and Dieng 2024, arXiv 2310.12952), with the cosine or an rbf kernel on DINO or CLIP embeddings.
It depends on the number of images; `rarefaction` and the option `k` give it for k of the K.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from metrics.base.kinds import make_card, pick_device
from metrics.errors import MetricError
from metrics.group.embedding import EncoderGroupMetric
from metrics.group.rarefaction import MOST_SUBSETS, Rarefied, vendi_curve
from metrics.group.vendi_score import KERNELS, check_kernel, check_order, vendi_score
from metrics.images import Images
from metrics.networks.clip_image import BACKBONES, CLIP_FILES, identify, load_clip_images, with_backbone
from metrics.networks.clip_image import DEFAULT as CLIP
from metrics.networks.encoder import Encoder
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.image_encoders import ENCODERS, load_choice
from metrics.networks.vit import load_encoder
from metrics.types import Card, Facts, Request, one_of

_SEED = 0
_NEWER = tuple(name for name in ENCODERS if name != "clip")


class Vendi(EncoderGroupMetric):
    """Effective number of images of a prompt; `pairwise` is 1 - cosine of the same embeddings."""

    option_help: ClassVar[Mapping[str, str]] = {
        "backbone": f"`dino`, `clip` (the first of the following), {one_of(BACKBONES)}; or {one_of(_NEWER)}",
        "q": 'order: any number above 0, or `"inf"`; small orders count rare images more',
        "kernel": one_of(KERNELS),
        "bandwidth": "of the rbf kernel, on L2-normalised embeddings",
        "k": "give the score to expect of k of the K images, so that runs with other K can be compared",
    }

    def __init__(self, card: Card, device: torch.device, encoder: Encoder, k: int | None = None) -> None:
        super().__init__(card, device, encoder)
        self.k = k
        self.measure: dict[str, Any] = {
            "q": check_order(card.settings["q"]),
            "kernel": card.settings["kernel"],
            "bandwidth": card.settings["bandwidth"],
        }
        if k is not None:
            self.undefined_reason = f"needs at least {k} images"

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a transformers ViTModel folder, or (option `backbone` = clip) a CLIPModel folder."""
        device = pick_device(request.device)
        options = request.options
        q = check_order(options.get("q", 1.0))
        kernel, bandwidth = check_kernel(options.get("kernel", "cosine"), options.get("bandwidth"))
        k = _check_k(options.get("k"))
        facts, encoder, folder = _load_encoder(facts, request, device)
        settings = {
            **encoder.settings,
            "q": "inf" if math.isinf(q) else q,
            "kernel": kernel,
            "bandwidth": bandwidth,
            "embeddings": "L2-normalised",
            "arithmetic": "float64",
            "k": "all images" if k is None else f"expected over subsets of {k}, at most {MOST_SUBSETS}, seed {_SEED}",
        }
        more = [f"q = {q:g}"] if q != 1 else []
        more += [f"rbf {bandwidth:g}"] if bandwidth is not None else []
        more += [f"k = {k}"] if k is not None else []
        facts = replace(facts, title=", ".join([facts.title, *more]), high=None if k is None else float(k))
        return cls(make_card(facts, request, weight_files(folder, facts.title), settings), device, encoder, k)

    def score_embeddings(self, rows: Tensor, prompt: str | None = None) -> float:
        """The Vendi score of rows [K, D], in 1..K (with the option `k`: in 1..k); NaN for fewer than 2, or k, rows."""
        if len(rows) < max(2, self.k or 2):
            return math.nan
        if self.k is not None:
            return vendi_curve(rows, [self.k], most=MOST_SUBSETS, seed=_SEED, **self.measure)[0].value
        return vendi_score(rows, **self.measure)

    def why_undefined(self, n: int) -> str | None:
        """That there are too few images, if so."""
        return self.undefined_reason if n < max(2, self.k or 2) else None

    def rarefaction(self, images: Images, ks: Sequence[int] | None = None, most: int = MOST_SUBSETS) -> list[Rarefied]:
        """The expected score at each k (default 1..K) with this metric's order and kernel."""
        return vendi_curve(self.embed(images), ks, most=most, seed=_SEED, **self.measure)

    def notes(self, n: int | None = None) -> list[str]:
        """Says that the score depends on the number of images."""
        if self.k is not None:
            return super().notes(n)
        return [*super().notes(n), "the Vendi score depends on the number of images per prompt: compare equal numbers"]


def _check_k(k: object) -> int | None:
    if k is None:
        return None
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise MetricError(f"vendi: k = {k!r} is not a number of images: give an integer of at least 2")
    return k


def _load_encoder(facts: Facts, request: Request, device: torch.device) -> tuple[Facts, Encoder, Path]:
    """Facts for the card, encoder and folder of the backbone that the options name."""
    name = request.options.get("backbone", "dino")
    if name == "dino":
        folder = folder_of(facts, request)
        encoder: Encoder = load_encoder(folder, facts.title, device, request.dtype, final_norm=True)
        return replace(facts, title=f"{facts.title} (DINO)"), encoder, folder
    if name in _NEWER:
        facts, encoder, _, folder = load_choice(name, facts, request, device)
        return facts, encoder, folder
    if name != "clip" and name not in BACKBONES:
        known = ", ".join(("dino", "clip", *BACKBONES, *_NEWER))
        raise MetricError(f"vendi: backbone {name!r} is not one of {known}")
    chosen = CLIP if name == "clip" else str(name)
    facts = with_backbone(replace(facts, licence="MIT"), chosen)
    folder = folder_of(facts, request, CLIP_FILES)
    encoder = load_clip_images(folder, facts.title, device, request.dtype)
    facts, backbone = identify(facts, request, chosen, folder)
    return replace(facts, title=f"{facts.title} (CLIP {backbone})".replace(" )", ")")), encoder, folder
