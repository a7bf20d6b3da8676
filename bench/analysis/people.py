"""Win rates of a human preference study as if they were metrics of methods: their names, and what can be asked."""

from __future__ import annotations

from typing import Protocol

from bench.analysis.stats import Interval

HUMAN_METRICS = {
    "human_preference": "preference",
    "human_diversity": "diversity",
    "human_alignment": "alignment",
}
"""Name of the metric -> task of the study. A value is a share of votes in [0, 1], ties half; 0.5 is even."""


class People(Protocol):
    """The votes of a study (`bench.study.people.VotesOf`)."""

    def win_rate(self, metric: str, method: str, over: str = "") -> tuple[Interval | None, str]:
        """How often a method won over another (or over all others), or None and why there is no such rate."""
        ...
