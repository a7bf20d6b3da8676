"""Instances in an image by transformers' Mask2Former (Cheng et al. 2022, arXiv 2112.01527), from a published folder.

Instances are made as in the detector's own evaluation: the surest pairs of query and class, as many as there are
queries, each with its class's probability times the mean probability of its mask, and the box around the mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from metrics.errors import MissingWeightsError
from metrics.networks.hf_folder import load_folder, load_processor

# COCO's classes as some published configurations spell them.
_OTHER_NAMES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


class Mask2Former:
    """A detector of instances; `labels` are its classes by number, `settings` what decides what it finds."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor
        names: Mapping[int, str] = model.config.id2label
        self.labels = tuple(_OTHER_NAMES.get(names[index], names[index]) for index in sorted(names))
        size = dict(processor.size)
        self.settings: dict[str, Any] = {
            "network": f"Mask2Former, {model.config.num_queries} queries, {len(self.labels)} classes",
            "resize": f"PIL {Image.Resampling(processor.resample).name.lower()}, {_said(size)}",
            "antialias": True,
            "crop": "none",
            "image_size": size.get("height", size.get("shortest_edge")),
            "mean": [float(value) for value in processor.image_mean],
            "deviation": [float(value) for value in processor.image_std],
            "colour": "RGB before the resize",
        }

    @torch.no_grad()
    def instances(self, image: Image.Image, least: float) -> list[tuple[str, float, torch.Tensor]]:
        """(class, score, mask [H, W] of the image's pixels, on the CPU) of what scores above `least`."""
        given = self.processor(images=[image], return_tensors="pt")
        device = self.model.device
        found = self.model(pixel_values=given["pixel_values"].to(device), pixel_mask=given["pixel_mask"].to(device))
        height, width = (int(given["pixel_mask"][0].any(dim=axis).sum()) for axis in (1, 0))  # without padding
        classes = found.class_queries_logits[0].float().softmax(dim=-1)[:, :-1]
        queries, count = classes.shape
        scores, place = classes.flatten().topk(min(queries, classes.numel()))
        some = scores > least  # the mask's probability only takes away from a score
        scores, place = scores[some], place[some]
        if not len(scores):
            return []
        masks = found.masks_queries_logits[0, place // count].float()[None]
        masks = functional.interpolate(masks, size=given["pixel_values"].shape[-2:], mode="bilinear")
        masks = functional.interpolate(masks[..., :height, :width], size=image.size[::-1], mode="bilinear")[0]
        inside = masks > 0
        mean = (masks.sigmoid() * inside).sum(dim=(1, 2)) / (inside.sum(dim=(1, 2)) + 1e-6)
        return [
            (self.labels[int(place[n]) % count], float(scores[n] * mean[n]), inside[n].cpu())
            for n in range(len(scores))
            if float(scores[n] * mean[n]) > least and bool(inside[n].any())
        ]


def _said(size: Mapping[str, int]) -> str:
    if "height" in size:
        return f"to {size['height']} x {size['width']}"
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in size.items() if value is not None)


def load_mask2former(folder: Path, what: str, device: torch.device) -> Mask2Former:
    """The detector of a Mask2FormerForUniversalSegmentation folder, in float32. MissingWeightsError for another."""
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    model = load_folder(Mask2FormerForUniversalSegmentation, folder, what)
    if not (folder / "preprocessor_config.json").is_file():
        raise MissingWeightsError(f"{what}: '{folder}' has no preprocessor_config.json: download it again")
    return Mask2Former(model.to(device), load_processor(Mask2FormerImageProcessorPil, folder, what))
