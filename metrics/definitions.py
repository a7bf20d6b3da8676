"""Metrics that a suite defines under names of its own: classes of torchmetrics, questions to a judge.

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metrics import catalogue
from metrics.builtin.judged import own_question
from metrics.errors import MetricError
from metrics.torchmetrics_forms import DEFINED, Definition, facts_of

TARGET = "metrics.torchmetrics_adapter:TorchmetricsMetric"
_ASKED: set[str] = set()
"""The names of questions that suites of this process have given."""
_RESERVED = ("reduction", "process_group", "dist_sync_on_step", "dist_sync_fn", "sync_on_compute", "compute_on_cpu")


def define(name: str, path: str, options: Mapping[str, Any]) -> None:
    """Make `name` a metric of this process: the class `path` of torchmetrics with these constructor arguments.

    The definition of another suite under the same name is replaced. MetricError if the class cannot be a metric, an
    argument is ours to set, or the name belongs to a metric that no suite defined.

    >>> import metrics
    >>> define("smooth", "image.TotalVariation", {})
    >>> metrics.info("smooth").direction.value
    'lower'
    """
    definition = Definition(path, tuple(sorted(options.items())))
    fixed = dict(definition.form.fixed)
    for key in options:
        if key in _RESERVED or key in fixed:
            why = f"{key} = {fixed[key]!r} belongs to the pixels handed over" if key in fixed else f"{key} is set here"
            raise MetricError(f"metric '{name}': {why}: omit the option '{key}'")
    if name in catalogue.names() and name not in DEFINED:
        raise MetricError(f"metric name '{name}' is already in use: give the class of torchmetrics another name")
    _ASKED.discard(name)
    DEFINED[name] = definition
    catalogue.replace(name, TARGET, facts_of(name, definition))


def define_question(name: str, question: str, answers: Sequence[str] | None = None) -> None:
    """Make `name` a metric of this process: the probability that a judge answers `question` with Yes.

    With `answers` it is a metric of the images of a prompt: which of the answers they show, as a measure of diversity.

    "{prompt}" in the question stands for the image's prompt. The question of another suite under the same name is
    replaced. MetricError if the name belongs to a metric that no suite defined.

    >>> import metrics
    >>> define_question("has_dog", "Is there a dog in the image?")
    >>> metrics.info("has_dog").unit
    'p(Yes)'
    """
    if name in catalogue.names() and name not in DEFINED and name not in _ASKED:
        raise MetricError(f"metric name '{name}' is already in use: give the question another name")
    DEFINED.pop(name, None)
    _ASKED.add(name)
    target, facts = own_question(name, question, answers)
    catalogue.replace(name, target, facts)
