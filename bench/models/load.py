"""The suite's model: its family's adapter over a local pipeline folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.registry.families import FAMILIES, GUIDANCE_RULES, ROWS, family_row

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite.schema import Suite


def load_model(folder: Path, suite: Suite, device: str = "cpu") -> DiffusionModel:
    """The suite's model from a local folder; UsageError: no such family or class, MissingError: damaged folder."""
    if suite.model.endpoint is not None:
        raise UsageError(
            f"suite '{suite.name}' has an endpoint, which gives images only: its model cannot be loaded here"
        )
    loaded: DiffusionModel = family_class(suite.model.family).load(folder, suite, device)
    return loaded


def family_class(family: str) -> Any:
    """The adapter of a family. Raises UsageError: no such family, or its class cannot be imported or cannot load."""
    target = FAMILIES.target(family)
    module, _, attribute = target.partition(":")
    builtin = FAMILIES.is_builtin(family)
    try:
        adapter = getattr(importlib.import_module(f"bench.models.{module}" if builtin else module), attribute)
    except (ImportError, AttributeError) as error:
        if builtin:
            raise
        raise UsageError(
            f"model family '{family}' cannot be loaded from '{target}': {error}: register it as "
            "'module:Class' with a module that can be imported"
        ) from error
    if not callable(getattr(adapter, "load", None)):
        raise UsageError(
            f"model family '{family}': {target} has no classmethod load(folder, suite, device): see docs/plugins.md"
        )
    return adapter


def check_guidance(suite: Suite, guidances: Mapping[str, Mapping[str, float]]) -> None:
    """UsageError for guidance that the family cannot have; `guidances` are those of each method's sides, by name."""
    family, spec = suite.model.family, suite.model
    row = family_row(family)
    for key in GUIDANCE_RULES:
        if row is not None and getattr(spec, key) is not None and key not in row.guidance_rules:
            having = " and ".join(f"'{one.name}'" for one in ROWS if key in one.guidance_rules)
            raise UsageError(f"model.{key} applies only to family {having}, and this one is '{family}': remove it")
    if row is None or not row.distilled:
        if spec.embedded_guidance is not None or spec.true_cfg:
            key = "true_cfg" if spec.true_cfg else "embedded_guidance"
            raise UsageError(
                f"model.{key} applies only to guidance-distilled models, and family '{family}' is not one: remove it"
            )
        return
    for method, sides in guidances.items():
        for side, value in sides.items():
            if value > 1.0 and not spec.true_cfg:
                raise UsageError(
                    f"method '{method}' has guidance {value:g} on its {side} side, but family '{family}' is "
                    f"guidance-distilled: set it to 1 (the suite's guidance, or {side}_guidance) and set "
                    "model.embedded_guidance, or model.true_cfg = true for real classifier-free guidance"
                )
