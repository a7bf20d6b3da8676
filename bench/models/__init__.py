"""Adapters over diffusers' pipeline parts; one module per model family, chosen by the suite's `model.family`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.errors import unknown

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite import Suite

FAMILIES: dict[str, str] = {
    "sd": "bench.models.sd:StableDiffusion",
    "sdxl": "bench.models.sdxl:StableDiffusionXL",
    "pixart": "bench.models.pixart:PixArt",
    "sd3": "bench.models.sd3:StableDiffusion3",
    "flux": "bench.models.flux:Flux",
}
"""Family name -> "module:class" with a classmethod `load(folder, suite, device)`."""


def load_model(folder: Path, suite: Suite, device: str = "cpu") -> DiffusionModel:
    """The suite's model from a local folder; UsageError: unknown family, MissingError: damaged folder."""
    family = suite.model.family
    if family not in FAMILIES:
        raise unknown("model family", family, FAMILIES)
    module, _, attribute = FAMILIES[family].partition(":")
    adapter = getattr(importlib.import_module(module), attribute)
    return cast("DiffusionModel", adapter.load(folder, suite, device))
