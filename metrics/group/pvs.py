"""PVS, the photographic variance score of DivGenBench (D2-Align, CVPR 2026, arXiv 2512.24146): no network at all.

PVS = std_i(mean S of image i) + std_i(mean V of image i) + std_i(std of the grey levels of image i), over the images i
of a prompt, with S and V of HSV in [0, 1] and grey as ITU-R BT.601 weighs it. The paper does not say which standard
deviation; here it is that of the population (divided by the number of images), so that the value of few images is low:
compare runs of equal K only. It sees colour, brightness and contrast, as they differ among photographs, and no content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from metrics.base.kinds import GroupMetric, make_card, pick_device
from metrics.errors import MetricError
from metrics.images import Images, to_pil
from metrics.types import Facts, Request

_GREY = np.array([0.299, 0.587, 0.114])


def levels(image: Image.Image) -> NDArray[np.float64]:
    """Mean saturation, mean value (both of HSV) and standard deviation of grey of an RGB image, each in [0, 1]: [3].

    >>> from PIL import Image
    >>> levels(Image.new("RGB", (2, 2), (255, 0, 0))).tolist()
    [1.0, 1.0, 0.0]
    """
    pixels = np.asarray(image, dtype=np.float64) / 255
    high, low = pixels.max(axis=-1), pixels.min(axis=-1)
    saturation = np.divide(high - low, high, out=np.zeros_like(high), where=high > 0)
    return np.array([saturation.mean(), high.mean(), (pixels @ _GREY).std()])


def pvs(rows: NDArray[np.float64]) -> float:
    """The score of levels [K, 3], in 0..1.5; NaN for fewer than two images."""
    return float(rows.std(axis=0).sum()) if len(rows) > 1 else float("nan")


class PVS(GroupMetric):
    """Spread of saturation, brightness and contrast over the images of a prompt, in 0..1.5; higher is more diverse."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """There are no weights; MetricError for a request that names some."""
        if request.weights is not None:
            raise MetricError(f"{facts.name} has no weights, but '{request.weights}' was given: omit them")
        settings = {
            "colour": "RGB; S and V of HSV; grey of ITU-R BT.601",
            "resize": "none",
            "deviation_of": "the population (divided by K): low for few images, so compare equal K only",
            "arithmetic": "float64",
        }
        card = make_card(facts, request, [], settings, source="none")
        return cls(card, pick_device(request.device))

    def notes(self, n: int | None = None) -> list[str]:
        """That it is for photographs, and depends on K."""
        return [
            *super().notes(n),
            "PVS sees colour, brightness and contrast, not content: it is meant for photographs and is comparable only "
            "between runs of equally many images per prompt",
        ]

    def pairwise(self, images: Images) -> Tensor:
        """The score of each pair of images, float32 [K, K] on the CPU: half the distance of their levels, summed."""
        rows = self._levels(to_pil(images))
        return torch.from_numpy(np.abs(rows[:, None] - rows[None]).sum(axis=-1) / 2).float()

    def score(self, images: Images, prompt: str | None = None) -> float:
        """PVS of the images of one prompt; NaN for fewer than two."""
        return pvs(self._levels(to_pil(images)))

    @staticmethod
    def _levels(frames: Sequence[Image.Image]) -> NDArray[np.float64]:
        return np.stack([levels(frame) for frame in frames]) if frames else np.zeros((0, 3))
