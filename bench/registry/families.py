"""The model families that a suite may name. Rows only: the adapters are in `bench.models`, which loads them."""

from __future__ import annotations

from bench.errors import UsageError
from bench.registry.registry import Registry

FAMILIES: Registry[str] = Registry("model family", "bench.models")
"""Family name -> "module:Class" with a classmethod `load(folder, suite, device)`; of built-in rows the module is one of
the adapters in `bench.models`, which this floor does not import."""

FAMILIES.add("sd", "sd:StableDiffusion", builtin=True)
FAMILIES.add("sdxl", "sdxl:StableDiffusionXL", builtin=True)
FAMILIES.add("pixart", "pixart:PixArt", builtin=True)
FAMILIES.add("sd3", "sd3:StableDiffusion3", builtin=True)
FAMILIES.add("flux", "flux:Flux", builtin=True)

DISTILLED = frozenset({"flux"})
"""Families whose guidance is an input of the network, learned in distillation."""


def register_model(family: str, target: str) -> None:
    """Add a model family for suites: `target` is "module:Class" with the classmethod `load(folder, suite, device)`.

    Raises UsageError when the name is taken, or the target is not written so.
    """
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"model family '{family}': target '{target}' must be written as 'module:Class'")
    FAMILIES.add(family, target)


def model_families() -> dict[str, str]:
    """The families that plug-ins brought, with their targets."""
    return {name: str(FAMILIES.target(name)) for name in FAMILIES.names() if not FAMILIES.is_builtin(name)}
