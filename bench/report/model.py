"""What a report shows, computed once: methods x metrics with intervals, differences against a reference, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bench.analysis.differences import Difference
from bench.analysis.stats import FEW, Interval
from bench.analysis.summary import ROUNDS, metric_interval
from bench.formatting import counted
from bench.report.best import Best, best_of
from bench.report.gaps import gaps_against
from bench.report.noise import other_noise
from bench.report.notes import notes as notes_of
from bench.runs import LeftOut, MetricFacts, Run, display_names, metric_order

if TYPE_CHECKING:
    from bench.report.curves import Curve

# The order in which readers look for things; what is not listed follows by name.
METHOD_ORDER = ("base", "refl", "draft", "dpo", "combined", "imagerefl", "aig", "scaled", "mixgrpo")


@dataclass(frozen=True, slots=True)
class Row:
    """One method of the table. `cells` has an interval per metric that the run was scored with."""

    name: str
    run: Run
    cells: dict[str, Interval]

    @property
    def family(self) -> str:
        """The method without its sweep setting: "combined" for "combined[switch_step=20]"."""
        return family(self.name)

    @property
    def setting(self) -> str:
        """The sweep setting of the method: "switch_step=20" for "combined[switch_step=20]", else ""."""
        return self.name.split("@", 1)[0].partition("[")[2].rstrip("]")

    def in_reward(self, metric: str) -> bool:
        """True when the method was trained on this metric."""
        return metric in self.run.trained_on


@dataclass(frozen=True)
class Table:
    """Everything that the tables and plots of one group of comparable runs need."""

    suite: str
    title: str
    metrics: tuple[MetricFacts, ...]
    rows: tuple[Row, ...]
    reference: str | None
    differences: dict[str, tuple[Difference, ...]] = field(default_factory=dict)  # p_holm: over the whole table
    notes: tuple[str, ...] = ()
    rounds: int = ROUNDS
    best: dict[str, Best] = field(default_factory=dict)  # per metric

    @cached_property
    def curves(self) -> list[Curve]:
        """Methods at several settings, in order: what plots join by a line."""
        from bench.report.curves import curves

        return curves(self.rows)

    @property
    def same_noise(self) -> bool:
        """True when all methods are known to have been sampled from the same noise."""
        return not other_noise(self.rows)

    @property
    def label(self) -> str:
        """ " (shapes)" where the scorers are not the published ones and the title does not say so, else ""."""
        labels = sorted({facts.label for facts in self.metrics if facts.label})
        return "".join(f" ({label})" for label in labels if f"({label})" not in self.title)

    @property
    def protocol(self) -> str:
        """One line: how many prompts and images, and what the intervals are."""
        run = self.rows[0].run
        prompts, images = counted(len(run.prompts), "prompt"), counted(run.samples, "image")
        return f"{prompts} x {images} per prompt; {self.interval_kind}"

    @property
    def interval_kind(self) -> str:
        """How the intervals of means and differences were made, which depends on the number of prompts."""
        prompts = len(self.rows[0].run.prompts)
        if prompts < 2:
            return "no intervals: one prompt says nothing of others"
        if prompts < FEW:
            return "95 % intervals over prompts (Student's t with its skewness corrected)"
        return f"95 % intervals over prompts (cluster bootstrap, {self.rounds:,} rounds)"

    @property
    def trained_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that any of the methods was trained on."""
        return tuple(facts.name for facts in self.metrics if any(row.in_reward(facts.name) for row in self.rows))


def family(name: str) -> str:
    """The method without run hash and sweep setting."""
    return name.split("@", 1)[0].split("[", 1)[0]


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key that puts switch_step=5 before switch_step=20."""
    parts = name.replace("]", "").replace("=", "\0").replace("-", "\0").split("\0")
    return [(0, float(part), "") if part.replace(".", "", 1).isdigit() else (1, 0.0, part) for part in parts]


def order_runs(runs: Sequence[Run]) -> list[Run]:
    """Base first, then the tuned methods in the order of the catalogue, sweeps by their setting."""
    return sorted(runs, key=lambda run: (_rank(family(run.method), METHOD_ORDER), _natural(run.method), run.name))


def order_metrics(runs: Sequence[Run]) -> tuple[MetricFacts, ...]:
    """Quality, diversity, then set metrics, each in the order in which readers look for them."""
    facts = {name: one for run in runs for name, one in run.metrics.items()}
    return tuple(sorted(facts.values(), key=metric_order))


def build(
    runs: Sequence[Run], left_out: Sequence[LeftOut] = (), reference: str = "base", rounds: int = ROUNDS, seed: int = 0
) -> Table:
    """The table of comparable runs; differences are against the first run whose method is `reference`, if any."""
    ordered = order_runs(runs)
    rows = tuple(
        Row(shown, run, {name: metric_interval(run, name, rounds, seed) for name in run.metrics})
        for shown, run in zip(display_names(ordered), ordered, strict=True)
    )
    base = next((row for row in rows if row.run.method == reference), None)
    gaps = gaps_against(base, rows, rounds, seed) if base is not None else {}
    facts = order_metrics(ordered)
    table = Table(
        suite=ordered[0].suite,
        title=ordered[0].title or ordered[0].suite,
        metrics=facts,
        rows=rows,
        reference=base.name if base else None,
        differences=gaps,
        rounds=rounds,
        best=best_of(rows, [one.name for one in facts], rounds, seed),
    )
    notes = notes_of(table, reference) + [f"left out: {one.run} ({one.why})" for one in left_out]
    return replace(table, notes=tuple(notes))
