"""What every card must say. The test of a metric calls `check_card`; those of tests/unit/metrics/checkpoints.py are
checked together in test_cards.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import metrics

INTERPOLATIONS = ("bicubic", "bilinear", "none")


def check_card(metric: Any) -> None:
    """Who the metric is, whence its weights come, and every setting that decides its values."""
    card, facts = metric.card.to_dict(), metric.card.facts
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert (card["name"], card["version"], card["kind"]) == (facts.name, facts.version, facts.kind.value)
    assert card["direction"] in ("higher", "lower")
    assert card["unit"]
    assert {"low", "high"} <= set(card)
    assert card["low"] is None or card["high"] is None or card["low"] < card["high"]
    assert card["published"] == metrics.info(facts.name).weights  # repository, release or package of the published
    assert card["source"]
    assert card["licence"]
    assert re.search(r"\b(19|20)\d\d\b|arXiv \d{4}\.\d{5}|github\.com", card["citation"])
    if metrics.info(facts.name).weights is not None:
        check_weights(card)
        check_preprocessing(card)


def check_weights(card: dict[str, Any]) -> None:
    """The digests of the files, here of tiny ones that are not of the hub, and the libraries that read them."""
    assert card["revision"] is None  # the digests say which they are
    assert card["weights"]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in card["weights"].values())
    assert any(Path(file).suffix in (".safetensors", ".pth", ".pt") for file in card["weights"])
    assert {"torch", "pillow"} <= set(card["libraries"])


def check_preprocessing(card: dict[str, Any]) -> None:
    """How pictures become what the network reads."""
    settings = card["settings"]
    assert settings["dtype"] == "float32"
    assert any(word in settings["resize"] for word in INTERPOLATIONS)
    assert settings["antialias"] in (True, False, "no resize")
    assert "centre" in settings["crop"] or "none" in settings["crop"]
    assert settings["colour"]
    assert "normalisation" in settings or len(settings["mean"]) == len(settings["deviation"]) == 3
    assert card["name"] in ("lpips", "hpsv3") or settings["image_size"] in (32, 64, "native")
    if "PIL" in settings["resize"] and "shortest" in settings["resize"]:
        assert settings["passes"].startswith("horizontal first")  # Pillow's order of passes changed
