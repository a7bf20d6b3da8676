"""Vendi score (Friedman and Dieng 2023, arXiv 2210.02410): the effective number of different images, 1..K.

exp of the entropy of the eigenvalues of K / n with the cosine kernel (order q = 1), on DINO features. It depends on
the number of images, so only groups of one size are comparable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metrics.dino import Dino
from metrics.images import Images, to_pil


def vendi_score(embeddings: Tensor) -> float:
    """The Vendi score of L2-normalised rows [K, D], in float64; NaN for no rows."""
    count, width = embeddings.shape
    if count == 0:
        return float("nan")
    rows = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    # X X^T and X^T X have the same non-zero eigenvalues: take the smaller one
    kernel = rows @ rows.T if count <= width else rows.T @ rows
    values = torch.linalg.eigvalsh(kernel / count).clamp_min(0.0)
    values = values[values > 0]
    return float(torch.exp(-(values * values.log()).sum()))


class Vendi(Dino):
    """Effective number of images of a prompt; `pairwise` is 1 - cosine, whose kernel the score uses."""

    def score(self, images: Images, prompt: str | None = None) -> float:
        """The Vendi score, in 1..K; NaN for fewer than two images."""
        frames = to_pil(images)
        return vendi_score(self.embed(frames)) if len(frames) > 1 else float("nan")

    def notes(self, n: int | None = None) -> list[str]:
        """Says that the score depends on the number of images."""
        return [*super().notes(n), "the Vendi score depends on the number of images per prompt: compare equal numbers"]
