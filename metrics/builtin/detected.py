"""Metrics of kind image that look for objects, or for what should not be there."""

from __future__ import annotations

from metrics.builtin.row import FOLDER, Row, row
from metrics.types import Direction, Kind

ROWS: tuple[Row, ...] = (
    row(
        "metrics.image.geneval_hf:GenEvalHF",
        name="geneval_hf",
        title="GenEval (Mask2Former of transformers)",
        order=108,
        kind=Kind.IMAGE,
        direction=Direction.HIGHER,
        unit="share of right images",
        low=0.0,
        high=1.0,
        weights="facebook/mask2former-swin-small-coco-instance",
        licence="other (detector); MIT (rules and CLIP)",
        citation="Ghosh et al. 2023, GenEval, arXiv 2310.11513 (its rules); detector: "
        "Cheng et al. 2022, arXiv 2112.01527",
        options={"questions": None, "colours": None},
        weight_options=("questions", "colours"),
        prompt_set="geneval",
        megabytes=1900,  # 69 M parameters of the detector, 428 M of CLIP
        beside=FOLDER,
    ),
    row(
        "metrics.image.nsfw:NSFW",
        name="nsfw",
        title="NSFW rate",
        order=109,
        kind=Kind.IMAGE,
        direction=Direction.LOWER,
        unit="share of images",
        low=0.0,
        high=1.0,
        weights="Falconsai/nsfw_image_detection",
        licence="Apache-2.0",
        citation="Falconsai 2023, nsfw_image_detection (model card; no publication)",
        options={"value": "rate"},
        beside=FOLDER,
    ),
)
