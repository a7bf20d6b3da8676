"""Whether a suite's metrics can score at all: asked before the first image is made, which may be hours of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import metrics
from bench.errors import BenchError, MissingError, UsageError
from bench.registry.metrics import ensure_metrics
from bench.runtime.devices import out_of_memory
from bench.scoring.given_statistics import read_statistics
from bench.scoring.identity import scope_of
from bench.scoring.memory import release
from bench.scoring.metric_weights import load_metric, network_of
from bench.scoring.reference_files import is_statistics

if TYPE_CHECKING:
    from bench.suite.schema import Reference, Suite


def check_metrics_load(suite: Suite) -> None:
    """Find, fetch and load the weights of every metric, one after the other on the CPU, and the reference images.

    Raises MissingError or UsageError, one sentence for all metrics that cannot be had.
    """
    ensure_metrics()
    failures: dict[str, Exception] = {}
    held: tuple[str | None, Any] = None, None
    for name, spec in sorted(suite.metrics.items(), key=lambda one: network_of(*one) or ""):
        network = network_of(name, spec)
        if network != held[0]:
            held = None, None
        try:
            scope_of(name, spec, suite)
            facts = metrics.info(name)
            if facts.kind == metrics.Kind.SET and facts.reference and suite.reference is None:
                raise UsageError(f"it compares with reference images, but suite '{suite.name}' has none ([reference])")
            made = load_metric(name, spec, "cpu", suite.label)
            if facts.kind == metrics.Kind.SET and facts.reference and suite.reference is not None:
                _check_statistics(made, suite.reference)
            held = (network, made) if network else (None, None)  # the next may share it
            del made
        except (BenchError, metrics.MetricError) as error:
            failures[name] = error
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):  # where they are scored, models take turns on a device with room for them
                raise
        release()
    if failures:
        raise failed(failures, "No image was made")


def _check_statistics(metric: Any, reference: Reference) -> None:
    """Raise UsageError or MissingError where the reference is a file of statistics that this metric cannot use."""
    if not is_statistics(reference) or not getattr(metric, "by_features", False):
        return
    import torch

    read_statistics(metric, type(metric.statistics_of(torch.zeros(2, metric.width))), reference)


def failed(failures: Mapping[str, Exception], end: str) -> BenchError:
    """One error for all metrics that cannot be had; missing things are said before wrong settings."""
    reasons = {name: str(error).rstrip(".") for name, error in failures.items()}
    sentences = [f"metric '{name}' could not be scored: {reason}" for name, reason in reasons.items()]
    codes = {int(getattr(error, "exit_code", 2)) for error in failures.values()}
    error = (MissingError if 4 in codes else UsageError)(f"{'; '.join(sentences)}. {end}".removesuffix(". "))
    error.failures = reasons
    return error
