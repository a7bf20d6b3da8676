"""What the rows of metrics share."""

from __future__ import annotations

from typing import Any

from metrics.types import Facts

Row = tuple[str, Facts]
FOLDER = ("*.json", "merges.txt", "model*.safetensors", "pytorch_model.bin")
"""What is read beside one file that is named of a folder of transformers."""
CLIP = "openai/clip-vit-large-patch14"


def row(target: str, **facts: Any) -> Row:
    """A metric: "module:Class" of its code, and its facts."""
    return target, Facts(**facts)
