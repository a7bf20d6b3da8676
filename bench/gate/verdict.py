"""A verdict of the gate, and how an interval is held against a bound. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.in_reward import DAGGER, dagger_line
from bench.analysis.stats import POWER, Interval, clusters_to_decide

Status = Literal["passed", "failed", "undecided", "missing", "not_comparable"]
STATUSES: tuple[Status, ...] = ("passed", "failed", "undecided", "missing", "not_comparable")
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged rule. `value` with its interval is what was held against `bound`: the mean, the drop, the lead."""

    suite: str
    method: str
    run: str
    metric: str
    rule: str
    bound: float
    status: Status
    message: str
    value: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    baseline: float = math.nan
    line: int = 0
    needed: float = math.nan  # of an undecided verdict: about how many prompts would decide it; inf: no number would
    detectable: float = math.nan  # of a drop: by how much it must pass the bound to be found with probability POWER
    level: float = math.nan  # of a drop: the level of its interval, so that all drops together are of 95 %
    shared: int = 0  # of a drop: among how many lines its part of the errors is shared
    path: str = ""  # the thresholds file
    trained: tuple[str, ...] = ()  # of the metrics judged, those that the method (or the other) was trained on
    noise: str = ""  # why pairs are not on the same noise, as a clause
    several: bool = False  # the method has more than one run, so that its name alone does not say which

    @property
    def who(self) -> str:
        """The method as it is printed: by the run's name where it has several."""
        return self.run if self.several and self.run else self.method

    @property
    def column(self) -> str:
        """What is printed for what was judged: the metric, or the dominance, with a dagger if trained on."""
        what = self.metric if math.isfinite(self.bound) else self.rule
        return f"{what}{DAGGER}" if self.trained else what

    @property
    def name(self) -> str:
        """What was asked, for instance "lpips min 0.3" or "pickscore, lpips dominates refl"."""
        return (
            f"{self.metric} {self.rule} {self.bound:g}" if math.isfinite(self.bound) else f"{self.metric} {self.rule}"
        )


def judge(low: float, value: float, high: float, bound: float, at_least: bool) -> Status:
    """Passed or failed when the interval [low, high] lies on one side of the bound, else undecided.

    On the bound is within it; a limit may be infinite. Without an interval (NaN limits) nothing shows that the true
    value is within the bound: a value within it is undecided, and one beyond it fails. A value of NaN is missing.
    """
    if not math.isfinite(value):
        return "missing"
    if not at_least:
        low, value, high, bound = -high, -value, -low, -bound
    if math.isnan(low) or math.isnan(high):
        return "undecided" if value >= bound else "failed"
    if low >= bound:
        return "passed"
    return "failed" if high < bound else "undecided"


def needed_prompts(interval: Interval, bound: float, prompts: int, level: float = 0.95) -> float:
    """About how many prompts would decide whether the mean is beyond the bound; NaN when there is no interval.

    `prompts` is how many there are now: of a set metric the interval's own clusters are blocks of prompts.
    """
    if not interval.clusters:
        return math.nan
    return clusters_to_decide(interval, bound, level) * prompts / interval.clusters


def needed_text(needed: float) -> str:
    """A clause that says what would decide an undecided verdict."""
    if math.isnan(needed):
        return "without an interval, the number of prompts that would decide is unknown"
    if needed > _MANY:
        return "the value lies on the bound: more prompts are unlikely to decide"
    return (
        f"about {_round_up(needed):,} prompts would decide ({POWER:.0%} chance, if the true value is the measured one)"
    )


def _round_up(number: float) -> int:
    """To two significant digits, up: the estimate is no better than that."""
    step = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return int(math.ceil(number / step) * step)


def shown(interval: Interval) -> str:
    """A mean with its interval, four significant digits, no minus zero."""
    mean, low, high = (f"{value + 0.0:.4g}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} (no interval)" if math.isnan(interval.low) else f"{mean} [{low}, {high}]"


def without_interval(interval: Interval) -> str:
    """Why a value has no interval, as a clause that stands behind "(no interval)"; "" where it has one."""
    if not math.isnan(interval.low) or not math.isfinite(interval.mean):
        return ""
    return (interval.reason or "none is stored with it").removeprefix("no interval: ").removesuffix(": no interval")


def exit_code(verdicts: Iterable[Verdict], strict: bool = False) -> int:
    """0 when the gate holds; 1 when a rule failed or could not be evaluated for want of a run or a value.

    3 when nothing failed but something was not comparable. `strict` makes an undecided verdict fail.
    """
    found = {verdict.status for verdict in verdicts}
    if found & ({"failed", "missing", "undecided"} if strict else {"failed", "missing"}):
        return 1
    return 3 if "not_comparable" in found else 0


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many of each kind, for instance "3 passed, 1 undecided"."""
    counts = {
        status: sum(verdict.status == status for verdict in verdicts)
        for status in dict.fromkeys(v.status for v in verdicts)
    }
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())


def drops_told(verdicts: Sequence[Verdict]) -> str:
    """At which level drops were judged, as a sentence; "" for fewer than two drops."""
    drops = [verdict for verdict in verdicts if math.isfinite(verdict.level) and verdict.shared > 1]
    if not drops:
        return ""
    level, lines = drops[0].level, drops[0].shared
    each, together = (f"{100 * part:.2f}".rstrip("0").rstrip(".") for part in (level, 1 - lines * (1 - level)))
    what = "drops" if together == "95" else "lines at this look"
    return f"Intervals of the {lines} {what} are of {each} % each, so of {together} % together."


def next_step(verdicts: Sequence[Verdict]) -> str:
    """What decides the undecided verdicts, as a clause; "" where there are none that prompts or allowances decide."""
    needed = [
        verdict.needed for verdict in verdicts if verdict.status == "undecided" and not math.isnan(verdict.needed)
    ]
    if not needed:
        return ""
    more = "more prompts (`bench run --limit N`, `--until decided`) or " if min(needed) < math.inf else ""
    return f"Undecided verdicts are decided by {more}a larger allowance (`bench check --plan`)"


def noise_told(verdicts: Sequence[Verdict]) -> list[str]:
    """Which methods are not paired on the same noise, and why, a sentence each."""
    told = dict.fromkeys((verdict.who, verdict.noise) for verdict in verdicts if verdict.noise)
    return [f"{who}: {noise}" for who, noise in told]


def daggers_told(verdicts: Sequence[Verdict]) -> str:
    """Which of the judged metrics methods were trained on, as a line; "" for none."""
    who: dict[str, list[str]] = {}
    for verdict in verdicts:
        for metric in verdict.trained:
            names = who.setdefault(metric, [])
            names += [verdict.method] if verdict.method not in names else []
    return dagger_line(who) if who else ""


def outcome_word(verdicts: Iterable[Verdict], code: int) -> str:
    """What the gate as a whole came to: passed, failed, undecided or not comparable. Undecided is not passed."""
    if code:
        return {1: "failed", 3: "not comparable"}.get(code, "failed")
    return "undecided" if any(verdict.status == "undecided" for verdict in verdicts) else "passed"
