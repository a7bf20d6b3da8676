"""Whether a method's settings fit one another and the suite, and what follows of them."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.methods.catalogue import Method
from bench.methods.method import TAYLOR
from bench.registry.families import FAMILIES
from bench.suite.override import MOST_STEPS

if TYPE_CHECKING:
    from bench.suite.schema import Suite

_NOISE_FAMILIES = frozenset({"sd", "sdxl", "pixart"})
"""Families whose networks predict noise for the most part."""
_UNETS = frozenset({"sd", "sdxl"})
_TAYLOR = frozenset({"flux", "flux2", "qwen_image"})
"""Families whose attention layers diffusers' TaylorSeer finds, and whose pipelines tell their calls apart."""
_FIRST_BLOCK = frozenset({"flux"})
"""Families whose blocks all take and give the same states, which FirstBlockCache needs."""


def check_acceleration(method: Method, suite: Suite) -> None:
    """What makes a method cheaper: UsageError for what it cannot be, or where it cannot be."""
    name, interval = f"method '{method.name}'", method.cache_interval
    if method.steps is not None and not 1 <= method.steps <= MOST_STEPS:
        raise UsageError(f"steps of {name} must be in 1..{MOST_STEPS}, got {method.steps}")
    if method.precision not in (None, "int8"):
        raise UsageError(f"precision of {name} must be 'int8', got '{method.precision}'")
    if method.threshold is not None:
        _check_threshold(method, suite)
    if any(getattr(method, key) is not None for key in TAYLOR):
        _check_taylor(method, suite)
    if interval is None:
        return
    if interval < 1:
        raise UsageError(f"cache_interval of {name} must be at least 1, got {interval}")
    if suite.model.family not in _UNETS and FAMILIES.is_builtin(suite.model.family):
        raise UsageError(f"{name}: cache_interval is for UNets, not for models of family '{suite.model.family}'")
    if method.guider.kind == "autoguidance":
        raise UsageError(f"{name}: cache_interval does not go with autoguidance, whose two networks are one UNet")


def _check_threshold(method: Method, suite: Suite) -> None:
    name = f"method '{method.name}'"
    if not 0 <= method.threshold < math.inf:  # type: ignore[operator]
        raise UsageError(f"threshold of {name} must be a number of at least 0, got {method.threshold}")
    if suite.model.family not in _FIRST_BLOCK and FAMILIES.is_builtin(suite.model.family):
        raise UsageError(f"{name}: threshold is for FLUX.1, not for models of family '{suite.model.family}'")
    _check_alone(method, suite, "threshold")


def _check_taylor(method: Method, suite: Suite) -> None:
    name, lowest = f"method '{method.name}'", dict(zip(TAYLOR, (1, 0, 1), strict=True))
    for key, low in lowest.items():
        value = getattr(method, key)
        if value is None:
            raise UsageError(f"{name} needs {key} as well: give {', '.join(TAYLOR)}, or write like = 'taylorseer'")
        if value < low:
            raise UsageError(f"{key} of {name} must be at least {low}, got {value}")
    if suite.model.family not in _TAYLOR and FAMILIES.is_builtin(suite.model.family):
        known = ", ".join(sorted(_TAYLOR))
        raise UsageError(f"{name}: TaylorSeer is for families {known}, not for '{suite.model.family}'")
    _check_alone(method, suite, "taylor_interval")


def _check_alone(method: Method, suite: Suite, key: str) -> None:
    """UsageError for what a cache of a transformer's layers cannot be beside."""
    if method.guider.kind == "autoguidance":
        raise UsageError(
            f"method '{method.name}': {key} does not go with autoguidance, whose two networks are one transformer"
        )
    if suite.compile:
        raise UsageError(
            f"method '{method.name}': {key} does not go with compiled blocks: set compile = false in the suite"
        )
    if method.threshold is not None and method.taylor_interval is not None:
        raise UsageError(f"method '{method.name}': give threshold or taylor_interval, not both")


def check_coupling(method: Method, suite: Suite) -> None:
    """UsageError for images of a prompt that cannot be made together."""
    assert method.coupling is not None
    method.coupling.check(method.name, suite.samples)
    if method.search is not None:
        raise UsageError(
            f"method '{method.name}' cannot both couple the images of a prompt and choose each among candidates: leave "
            "out its coupling or its search"
        )


def with_parts(method: Method) -> Method:
    """The method with the first of its soup as its weights. Raises UsageError for shares that do not fit it."""
    if method.ratio is None:
        return method
    names, shares = method.soup, method.ratios
    if shares and len(shares) != len(names):
        raise UsageError(f"method '{method.name}': {len(shares)} ratios for a soup of {len(names)} checkpoints")
    if len(set(names)) != len(names) or any(not name for name in names):
        raise UsageError(f"method '{method.name}': its soup must name each checkpoint once, got {', '.join(names)}")
    if not all(math.isfinite(share) for share in (*shares, method.ratio)):
        raise UsageError(f"method '{method.name}': ratios must be finite numbers")
    return dataclasses.replace(method, weights=names[0]) if names else method


def with_family_defaults(method: Method, suite: Suite) -> Method:
    """CFG-Zero* begins with predictions of 0 where they are velocities: of noise, 0 would be another thing."""
    if method.guider.kind != "cfg_zero_star" or method.guider.zero_init_steps is not None:
        return method
    steps = 0 if suite.model.family in _NOISE_FAMILIES else 1
    return dataclasses.replace(method, guider=dataclasses.replace(method.guider, zero_init_steps=steps))


def check_conditions_given(method: Method) -> None:
    """What a suite's file is checked for already, for settings that came from a call."""
    if method.text_encoder not in (None, "ignore"):
        raise UsageError(f"text_encoder of method '{method.name}' must be 'ignore', got '{method.text_encoder}'")
    if method.guidance_rescale is not None and not 0.0 <= method.guidance_rescale <= 1.0:
        raise UsageError(f"guidance_rescale of method '{method.name}' must be in 0..1, got {method.guidance_rescale:g}")
    if method.clip_skip is not None and method.clip_skip < 1:
        raise UsageError(f"clip_skip of method '{method.name}' must be at least 1, got {method.clip_skip}")
