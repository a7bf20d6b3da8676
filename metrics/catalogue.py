"""The metrics there are, and how they are found. Imports nothing heavy; classes are loaded on use."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any

from metrics.builtin import BUILTIN
from metrics.errors import MetricError, MissingWeightsError, UnknownMetricError
from metrics.types import Facts

ENTRY_POINTS = "bench.metrics"

_FACTS: dict[str, Facts] = {}
_TARGETS: dict[str, str] = {}
_BROKEN: dict[str, str] = {}
_plugins_read = False


def register(name: str, target: str, facts: Facts) -> None:
    """Add a metric: `target` is "module:Class", whose classmethod `load(facts, request)` makes the metric.

    Registering the same target again is harmless (a module may be imported twice); another target under a taken
    name raises MetricError.
    """
    if ":" not in target:
        raise MetricError(f"metric '{name}': target '{target}' must be written as 'module:Class'")
    if facts.name != name:
        raise MetricError(f"metric '{name}' is registered with the facts of '{facts.name}': use the same name in both")
    if _TARGETS.get(name, target) != target:
        raise MetricError(
            f"metric name '{name}' is already used by {_TARGETS[name]}: register {target} under another name"
        )
    _FACTS[name], _TARGETS[name] = facts, target


def replace(name: str, target: str, facts: Facts) -> None:
    """Add a metric, or put it in the place of one of the same name: for definitions that belong to a suite."""
    _FACTS.pop(name, None)
    _TARGETS.pop(name, None)
    register(name, target, facts)


def _read_plugins() -> None:
    """Call every entry point of group `bench.metrics` once: light functions that call `metrics.register`.

    A broken plug-in must not take the other metrics with it; it is named when an unknown metric is asked for.
    """
    global _plugins_read
    if _plugins_read:
        return
    _plugins_read = True
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()()
        except Exception as error:
            _BROKEN[point.name] = f"{type(error).__name__}: {error}"


def names() -> list[str]:
    """All metric names, in order of registration.

    >>> import metrics
    >>> [name for name in metrics.names() if name.startswith("hpsv2")]
    ['hpsv2', 'hpsv2.1']
    """
    _read_plugins()
    return list(_FACTS)


def info(name: str) -> Facts:
    """The facts of a metric; UnknownMetricError (with a suggestion) if there is none of that name.

    >>> import metrics
    >>> facts = metrics.info("lpips")
    >>> facts.kind.value, facts.direction.value, facts.options
    ('group', 'higher', {'net': None})
    """
    _read_plugins()
    if name in _FACTS:
        return _FACTS[name]
    close = difflib.get_close_matches(name, _FACTS, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    broken = "".join(f" Plug-in '{key}' could not be read ({why})." for key, why in _BROKEN.items())
    raise UnknownMetricError(f"unknown metric '{name}'.{hint} Known metrics: {', '.join(_FACTS)}.{broken}")


def find_class(name: str) -> Any:
    """Import and return the class of a metric; MissingWeightsError if a package it needs is absent."""
    info(name)
    module, _, attribute = _TARGETS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingWeightsError(
            f"metric '{name}' needs the package '{missing}', which is not installed: "
            f"run `pip install {' '.join(info(name).packages) or missing}`"
        ) from error


for _target, _facts in BUILTIN:
    register(_facts.name, _target, _facts)
