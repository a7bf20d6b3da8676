"""The metrics of the embedded world, made known to `metrics`."""

from __future__ import annotations

from typing import Any


def ensure_metrics() -> None:
    """Make the metrics that belong to the embedded world known to `metrics`. Light, and harmless to call again."""
    import metrics

    known = metrics.names()
    for facts, target in (_attribute_accuracy(), _attribute_entropy()):
        if facts.name not in known:
            metrics.register(facts.name, target, facts)


def metric_names() -> list[str]:
    """Names of all metrics, those of the embedded world included."""
    import metrics

    ensure_metrics()
    return metrics.names()


def display_order(name: str) -> int:
    """The place of a metric among those of its kind where they are shown; that of its facts, last for unknown ones."""
    import metrics
    from metrics.types import LAST

    return metrics.info(name).order if name in metric_names() else LAST


def _attribute_accuracy() -> tuple[Any, str]:
    from metrics import Direction, Facts, Kind

    facts = Facts(
        name="attribute_accuracy",
        title="Attribute accuracy",
        order=60,
        kind=Kind.IMAGE,
        direction=Direction.HIGHER,
        unit="share of the attributes that the caption names",
        low=0.0,
        high=1.0,
        licence="Apache-2.0",
        citation="imagerefl-bench: the oracle of the embedded world (bench.shapes.oracle)",
    )
    return facts, "bench.shapes.metrics:AttributeAccuracy"


def _attribute_entropy() -> tuple[Any, str]:
    from metrics import Direction, Facts, Kind

    facts = Facts(
        name="attribute_entropy",
        title="Attribute entropy",
        order=30,
        kind=Kind.GROUP,
        direction=Direction.HIGHER,
        unit="normalised entropy of the attributes that the caption leaves free",
        low=0.0,
        high=1.0,
        licence="Apache-2.0",
        citation="imagerefl-bench: the oracle of the embedded world (bench.shapes.oracle)",
    )
    return facts, "bench.shapes.metrics:AttributeEntropy"
