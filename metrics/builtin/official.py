"""The metrics that the evaluation code of ImageReFL computes, measured as it does: NAME@official."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metrics.builtin import group, image
from metrics.builtin.row import Row
from metrics.types import OFFICIAL, Facts

_CLIP_B32 = "openai/clip-vit-base-patch32"
_CODE = "as in github.com/ControlGenAI/ImageReFL"
_HERE = "metrics.official"


def _official(name: str, target: str, **changes: Any) -> Row:
    """The row of a metric by the official protocol: its facts but for how it is measured, right behind it."""
    facts = next(facts for _, facts in (*image.ROWS, *group.ROWS) if facts.name == name)
    changes = {"options": {"antialias": True, "batch": 30}, **changes}
    citation = f"{facts.citation}; {_CODE}"
    return f"{_HERE}.{target}", _changed(facts, citation, changes)


def _changed(facts: Facts, citation: str, changes: dict[str, Any]) -> Facts:
    title = f"{facts.title}, official protocol"
    named: dict[str, Any] = {
        "name": f"{facts.name}{OFFICIAL}",
        "title": title,
        "citation": citation,
        "order": facts.order + 1,
    }
    return replace(facts, **named, **changes)


ROWS: tuple[Row, ...] = (
    _official("image_reward", "image:OfficialImageReward", unit="raw reward"),
    _official("hpsv2.1", "image:OfficialHPSv2"),
    _official("pickscore", "image:OfficialPickScore"),
    _official("clip_score", "image:OfficialCLIPScore", unit="cosine", low=-1.0, high=1.0, weights=_CLIP_B32),
    _official("dino", "group:OfficialDino"),
    _official("clip_diversity", "group:OfficialClipDiversity", weights=_CLIP_B32),
)
