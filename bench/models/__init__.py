"""Adapters over diffusers' pipeline parts; one module per model family, chosen by the suite's `model.family`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.errors import UsageError, unknown

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

_OWN = "bench.models."

DISTILLED = frozenset({"flux"})
"""Families whose guidance is an input of the network, learned in distillation."""


def is_builtin(family: str) -> bool:
    """Whether a family is one of this package: a plug-in's makes other images of the same folder."""
    return FAMILIES.get(family, _OWN).startswith(_OWN)


def load_model(folder: Path, suite: Suite, device: str = "cpu") -> DiffusionModel:
    """The suite's model from a local folder; UsageError: no such family or class, MissingError: damaged folder."""
    family = suite.model.family
    if family not in FAMILIES:
        raise unknown("model family", family, FAMILIES)
    module, _, attribute = FAMILIES[family].partition(":")
    try:
        adapter = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if is_builtin(family):
            raise
        raise UsageError(
            f"model family '{family}' cannot be loaded from '{FAMILIES[family]}': {error}: register it as "
            "'module:Class' with a module that can be imported."
        ) from error
    if not callable(getattr(adapter, "load", None)):
        raise UsageError(
            f"model family '{family}': {FAMILIES[family]} has no classmethod load(folder, suite, device): see "
            "docs/plugins.md."
        )
    return cast("DiffusionModel", adapter.load(folder, suite, device))


def check_guidance(suite: Suite, guidances: Mapping[str, Mapping[str, float]]) -> None:
    """UsageError for guidance that the family cannot have; `guidances` are those of each method's sides, by name."""
    family, spec = suite.model.family, suite.model
    if family not in DISTILLED:
        if spec.embedded_guidance is not None or spec.true_cfg:
            key = "true_cfg" if spec.true_cfg else "embedded_guidance"
            raise UsageError(f"model.{key} is for guidance-distilled models, and family '{family}' is none: remove it.")
        return
    for method, sides in guidances.items():
        for side, value in sides.items():
            if value > 1.0 and not spec.true_cfg:
                raise UsageError(
                    f"method '{method}' has guidance {value:g} on its {side} side, but family '{family}' is "
                    f"guidance-distilled: set it to 1 (the suite's guidance, or {side}_guidance) and say "
                    "model.embedded_guidance, or model.true_cfg = true for real classifier-free guidance."
                )
