"""The weights of a metric from the name that a suite gives them, as `metrics.load` takes them."""

from __future__ import annotations

from typing import Any

from bench.models.weights import check_pin, hub_name, resolve, split_pin
from metrics.weights.hub import locate


def metric_weights(spec: Any) -> Any:
    """A weights name as `metrics` takes it: a path, or the name of the hub. Raises MissingError where there is none."""
    if not isinstance(spec, str):
        return spec
    name, wanted = split_pin(spec)
    if hub_name(name) is None:
        return str(resolve(spec))
    if wanted is not None:
        check_pin(name, locate(name), wanted)
    return name
