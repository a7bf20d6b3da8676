"""The configuration of a folder of transformers' CLIPModel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metrics.errors import MissingWeightsError, first_line
from metrics.weights.state_dict import read_json


def read_clip_config(folder: Path, what: str) -> Any:
    """Its `CLIPConfig`. MissingWeightsError where config.json describes something else."""
    from transformers import CLIPConfig

    read_json(folder / "config.json", what)
    try:
        return CLIPConfig.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers checks the values in many ways
        reason = first_line(error)
        raise MissingWeightsError(f"{what}: '{folder / 'config.json'}' does not describe a CLIP ({reason})") from error
