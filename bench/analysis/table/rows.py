"""The table of one group of comparable runs, as data: rows, cells, curves, best of each metric. `build` fills it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.analysis.checkpoints import MethodRuns
from bench.analysis.differences import Difference
from bench.analysis.estimand import prompt_clusters
from bench.analysis.in_reward import in_reward
from bench.analysis.stats import Interval
from bench.formatting import counted
from bench.store.runs import MetricFacts, Run

N_RESAMPLES = 2000  # of the bootstrap that draws the band of a front


@dataclass(frozen=True, slots=True)
class Row:
    """One method of the table. `cells` has an interval per metric that the run was scored with."""

    name: str
    run: Run
    cells: dict[str, Interval]

    @property
    def family(self) -> str:
        """The method without its sweep setting: "combined" for "combined[switch_step=20]"."""
        return family(self.run.method if self.run.given else self.name)

    @property
    def setting(self) -> str:
        """The sweep setting of the method: "switch_step=20" for "combined[switch_step=20]", else ""."""
        name = self.run.method if self.run.given else self.name
        return name.split("@", 1)[0].partition("[")[2].rstrip("]")

    def in_reward(self, metric: str) -> bool:
        """True when the method was trained on this metric."""
        return in_reward(self.run.trained_on, metric)


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A method over its checkpoints: a mean per metric, and differences against the table's reference."""

    group: MethodRuns
    cells: dict[str, Interval]
    differences: tuple[Difference, ...] = ()

    @property
    def name(self) -> str:
        """The method."""
        return self.group.name


@dataclass(frozen=True, slots=True)
class Best:
    """The method with the best mean, and the others that it does not beat beyond the uncertainty."""

    name: str
    tied: frozenset[str] = frozenset()

    @property
    def significant(self) -> bool:
        """True when it is better than every other method beyond the uncertainty."""
        return not self.tied


@dataclass(frozen=True, slots=True)
class Curve:
    """Rows of one family along one parameter; `members` are (row name, value as printed) in ascending order."""

    family: str
    parameter: str
    members: tuple[tuple[str, str], ...]


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
    n_resamples: int = N_RESAMPLES
    best: dict[str, Best] = field(default_factory=dict)  # per metric
    curves: tuple[Curve, ...] = ()  # methods at several settings, in order: what plots join by a line
    common: tuple[str, ...] = ()  # with --common: what all runs have, as captions
    methods: tuple[MethodRow, ...] = ()  # over training seeds, where any method has several checkpoints
    same_noise: bool = False  # whether all methods are known to have been sampled from the same noise

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
        return "; ".join([f"{prompts} x {images} per prompt", *self.scored, self.interval_kind])

    @property
    def scored(self) -> list[str]:
        """What of that was scored, as clauses of the caption: none where every value is there."""
        if self.common:
            return list(self.common)
        expected = len(self.rows[0].run.prompts) * self.rows[0].run.samples
        short = [row for row in self.rows if row.run.n_images < expected]
        found = [f"{row.name} has {row.run.n_images:,} of {expected:,} images" for row in short]
        lost = [row.name for row in self.rows if any(cell.n_unscored for cell in row.cells.values())]
        return [*found, *([f"some values of {', '.join(lost)} are unscored (see the notes)"] if lost else [])]

    @property
    def interval_kind(self) -> str:
        """How the intervals of means and differences were made, which depends on the number of prompts."""
        if len(set(prompt_clusters(self.rows[0].run).values())) < 2:
            prompts = len(self.rows[0].run.prompts)
            several = f"{prompts} prompts of one text or scene carry" if prompts > 1 else "a single prompt carries"
            return f"no interval: {several} no between-prompt variance"
        return "95 % intervals over prompts (Student's t and Hall's correction for skewness, the wider limits)"

    @property
    def trained_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that any of the methods was trained on."""
        return tuple(facts.name for facts in self.metrics if any(row.in_reward(facts.name) for row in self.rows))


def family(name: str) -> str:
    """The method without run hash and sweep setting."""
    return name.split("@", 1)[0].split("[", 1)[0]
