"""Adapters over diffusers' pipeline parts; one module per model family, chosen by the suite's `model.family`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.registry.families import FAMILIES
from bench.registry.registry import Registry

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite import Suite


FAMILIES.add("sd", "sd:StableDiffusion", builtin=True)
FAMILIES.add("sdxl", "sdxl:StableDiffusionXL", builtin=True)
FAMILIES.add("pixart", "pixart:PixArt", builtin=True)
FAMILIES.add("sd3", "sd3:StableDiffusion3", builtin=True)
FAMILIES.add("flux", "flux:Flux", builtin=True)
