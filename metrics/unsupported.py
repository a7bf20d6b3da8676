"""Metrics that are known and cannot be loaded here: asked for, they say why."""

from __future__ import annotations

from typing import Never

from metrics.errors import MetricError
from metrics.types import Facts, Request


class Unsupported:
    """Stands in for a metric whose facts have the field `unsupported`."""

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Never:
        """Always raises MetricError with the reason."""
        raise MetricError(f"metric '{facts.name}' ({facts.title}) is not supported, because {facts.unsupported}")
