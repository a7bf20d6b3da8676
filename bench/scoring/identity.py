"""How a metric is asked to score, known without loading it: by this, values that are there are taken for current."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import metrics
from bench.scoring.metric_weights import identity_of
from bench.scoring.reference import reference_identity

if TYPE_CHECKING:
    from bench.suite.metric_spec import MetricSpec
    from bench.suite.schema import Suite


FLOAT = "float32"
"""The dtype of a metric that asks for none."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Both parts are stored in a metric's card.

    `digest` covers the metric's version, the content of its weights, its options (those left out have their defaults),
    its label, a dtype other than float32, TF32 where it is chosen, and for set metrics the reference; `asked` says what
    of that a card does not say by itself.
    """

    digest: str
    asked: Mapping[str, Any]


def scope_of(name: str, spec: MetricSpec, suite: Suite) -> Scope:
    """The scope of a suite's metric. Raises MissingError (weights or reference not there)."""
    facts = metrics.info(name)
    options = {key: _plain(value, facts.options.get(key)) for key, value in {**facts.options, **spec.options}.items()}
    weights = {key: value for key, value in options.items() if key in facts.weight_options and isinstance(value, str)}
    identity: dict[str, Any] = {
        "version": facts.version,
        "weights": "published" if spec.weights is None else identity_of(spec.weights, facts.beside),
        "options": options | {key: identity_of(value, facts.beside) for key, value in weights.items()},
        "label": suite.label,
    }
    # The defaults are not named: values that are there already were asked for in the same way.
    chosen = {"dtype": spec.dtype, "tf32": spec.tf32}
    precision = {key: value for key, value in chosen.items() if value not in (FLOAT, False)}
    identity |= precision
    untold = {*weights, *facts.address_options}
    asked: dict[str, Any] = {"options": {key: value for key, value in options.items() if key not in untold}}
    asked |= precision
    if facts.kind == metrics.Kind.SET and facts.reference:
        asked["reference"] = None if suite.reference is None else reference_identity(suite.reference)
        identity["reference"] = _by_content(asked["reference"])
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return Scope(digest, asked)


def _by_content(reference: dict[str, Any] | None) -> dict[str, Any] | None:
    """A reference without the names of its files: renaming one changes no value."""
    if reference is None or "images" not in reference:
        return reference
    return {key: value for key, value in reference.items() if key != "content"}


def _plain(value: Any, default: Any) -> Any:
    """1 for an option whose default is 1.0 is 1.0."""
    return float(value) if isinstance(default, float) and type(value) is int else value
