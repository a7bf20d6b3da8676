"""`bench run --until`: prompts are made, in a fixed random order, only until a question is answered.

The looks are fixed beforehand: 32 prompts, twice as many every other time, and all of them. Each spends the same part
of 5 % of error, shared among the lines (`bench.gate.ledger`), so that with all looks together any line is decided
wrongly in at most 5 %. It is one run that grows: its identity holds the ordered prompts, its manifest how far it came.
Called again it goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.analysis.estimand import pair, units_of
from bench.engines.engine import Engine
from bench.engines.local import LOCAL
from bench.errors import UsageError
from bench.formatting import one_line
from bench.gate.baseline import read_baseline
from bench.gate.bounds import verdicts
from bench.gate.ledger import look_level
from bench.gate.summaries import Summary, summary_from
from bench.gate.thresholds import Dominance, Thresholds, read_thresholds
from bench.generation.loaded import Settings
from bench.methods.catalogue import Method, method_names
from bench.pipeline.finish import check_images, mark_complete, score_and_summarise
from bench.pipeline.prepare import check_scoring, planned
from bench.registry.metrics import metric_names
from bench.runtime.progress import Progress
from bench.store.run_store import RunStore, lock_runs
from bench.store.runs import Run, read_run
from bench.suite.plan import RunPlan, hash8
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

FIRST_LOOK = 32


@dataclass(frozen=True)
class Rule:
    """When to stop: every difference known to `sizes`, or every line of `thresholds` decided."""

    text: str
    sizes: tuple[tuple[str, float], ...] = ()
    thresholds: Path | None = None
    max_prompts: int | None = None


def read_rule(text: str, thresholds: Path | str | None, max_prompts: int | None) -> Rule:
    """The rule of `--until`. UsageError says how it is written."""
    if max_prompts is not None and max_prompts < 2:
        raise UsageError(f"--max-prompts must be at least 2, got {max_prompts}")
    if text == "decided":
        if thresholds is None:
            raise UsageError("--until decided needs --thresholds FILE: the lines that have to be decided")
        return Rule(text, (), Path(thresholds), max_prompts)
    if thresholds is not None:
        raise UsageError("--thresholds requires --until decided")
    sizes = []
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        try:
            size = float(number)
        except ValueError:
            size = math.nan
        if name not in metric_names() or not 0 < size < math.inf:
            raise UsageError(f"--until {text}: write METRIC=SIZE, such as lpips=0.01, or decided")
        sizes.append((name, size))
    return Rule(text, tuple(sizes), None, max_prompts)


def looks(prompts: int) -> list[int]:
    """The numbers of prompts at which is looked: 32, 45, 64, 91, 128, ... and all."""
    found: list[int] = []
    while (number := round(FIRST_LOOK * 2 ** (len(found) / 2))) < prompts:
        found.append(number)
    return [*found, prompts]


def ordered(plan: RunPlan, seed: int, most: int | None) -> RunPlan:
    """The plan with its prompts in a random order that the seed fixes, and an identity that holds that order."""

    def rank(prompt_id: str) -> str:
        return hashlib.sha256(f"{seed}\0{prompt_id}".encode()).hexdigest()

    prompts = tuple(sorted(plan.prompts, key=lambda prompt: rank(prompt.id)))[:most]
    order = hashlib.sha256(json.dumps([prompt.id for prompt in prompts]).encode()).hexdigest()[:16]
    identity = {**plan.identity, "prompts": f"{plan.identity['prompts']} in the order {order} of seed {seed}"}
    return replace(plan, prompts=prompts, identity=identity, hash8=hash8(identity))


def grow(
    suites: tuple[Suite, Suite],
    methods: Sequence[Method],
    rule: Rule,
    results: Path,
    settings: Settings,
    progress: Progress | None,
    engine: Engine = LOCAL,
) -> list[RunStore]:
    """Make, score and look until the rule is met or there are no more prompts; the stores, one a method.

    `suites` are the one that images are made by, and the one with the metrics that are scored (by another protocol).
    """
    suite, scoring = suites
    limits = _limits(rule, methods, scoring)
    for name, _ in rule.sizes:
        if name not in scoring.metrics:
            raise UsageError(f"--until {name}: the suite does not score {name}; add it with --metrics")
    plans = [ordered(plan, suite.seed, rule.max_prompts) for plan in planned(suite, methods)]
    check_scoring(suite, plans, results)
    stores = [RunStore.create(results, suite.name, plan.method.safe_name, plan.hash8) for plan in plans]
    numbers, before = looks(len(plans[0].prompts)), _baseline(limits)
    with lock_runs(stores):
        came = max((len(store.manifest().prompts) for store in stores if store.exists()), default=0)
        for look, number in enumerate(numbers, 1):
            if number < min(came, numbers[-1]):
                continue  # it came further than this already
            part = [replace(plan, prompts=plan.prompts[:number]) for plan in plans]
            engine.generate(part, suite, stores, settings, progress)
            score_and_summarise(stores, scoring, settings.device, progress, engine)
            runs = [read_run(store) for store in stores]
            still, skipped = _open(runs, rule, limits, before, (look, len(numbers)))
            stopped = "" if still and number < numbers[-1] else _stopped(still)
            _write(stores, rule, numbers, number, stopped, skipped)
            told = f"look {look} at {number} of {numbers[-1]} prompts: {len(still)} lines open"
            logger.info(one_line(f"{told}{f' ({still[0]})' if still else ''}{f'; {stopped}' if stopped else ''}"))
            if stopped:
                break
        check_images(stores)
        mark_complete(stores)
    return stores


def _stopped(still: Sequence[str]) -> str:
    if not still:
        return "the question was answered"
    return f"there are no more prompts, and {len(still)} lines stay undecided: {'; '.join(still[:3])}"


def _write(
    stores: Sequence[RunStore], rule: Rule, numbers: Sequence[int], number: int, stopped: str, skipped: Sequence[str]
) -> None:
    for store in stores:
        manifest = store.manifest()
        manifest.grown = {
            "rule": rule.text if rule.thresholds is None else f"{rule.text} --thresholds {rule.thresholds.name}",
            "of": numbers[-1],
            "looks": list(numbers),
            "prompts": number,
            "stopped": stopped,
            "set_metrics": list(skipped),
        }
        store.write_manifest(manifest)


def _limits(rule: Rule, methods: Sequence[Method], suite: Suite) -> Thresholds | None:
    if rule.thresholds is None:
        return None
    known = [*method_names(), *(method.name for method in methods)]
    limits = read_thresholds(rule.thresholds, known, [*metric_names(), *suite.metrics])
    names = {method.name for method in methods}
    asked = {rule.method for rule in limits.rules} | {rule.over for rule in limits.rules if isinstance(rule, Dominance)}
    absent = sorted(asked - names)
    if absent:
        raise UsageError(f"{limits.path} has rules on {', '.join(absent)}: add those methods to --method")
    return limits


def _baseline(limits: Thresholds | None) -> dict[str, Any] | None:
    return None if limits is None or limits.baseline is None else read_baseline(limits.baseline)


def _open(
    runs: Sequence[Run], rule: Rule, limits: Thresholds | None, before: dict[str, Any] | None, look: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """At look k of so many: the lines that are not decided yet, and those on set metrics.

    Those do not count; they stay undecided.
    """
    if limits is None:
        return _wide(runs, rule, look), []
    summaries = [summary_from(run) for run in runs]
    sets = {name for run in runs for name, facts in run.metrics.items() if facts.kind == "set"}
    on_sets = [f"{bound.method} {bound.metric}" for bound in limits.bounds if bound.metric in sets] + [
        f"{rule.method} dominates" for rule in limits.rules if isinstance(rule, Dominance) and sets & set(rule.metrics)
    ]
    kept = replace(limits, rules=tuple(rule for rule in limits.rules if not _on_set(rule, sets)))
    found = verdicts(kept, _comparable(summaries, before), before, (), look[0], of=look[1])
    return [f"{one.method} {one.name}" for one in found if one.status not in ("passed", "failed")], on_sets


def _on_set(rule: Any, sets: set[str]) -> bool:
    return bool(sets & set(rule.metrics)) if isinstance(rule, Dominance) else rule.metric in sets


def _comparable(summaries: Sequence[Summary], before: dict[str, Any] | None) -> list[Summary]:
    """A baseline of all prompts is met by those that are made so far: pairs are by prompt."""
    if before is None:
        return list(summaries)
    return [replace(summary, prompts_digest=None, prompts=0, prompt_order="") for summary in summaries]


def _wide(runs: Sequence[Run], rule: Rule, look: tuple[int, int]) -> list[str]:
    """The differences to the first run whose interval is wider than asked; of one run, its means."""
    lines = [(run, name, size) for run in (runs[1:] or runs) for name, size in rule.sizes]
    level, found = look_level(look[0], len(lines), look[1]), []
    for run, name, size in lines:
        mine = units_of(run, name)
        alone = len(runs) == 1
        interval = mine.mean().interval(level) if alone else pair(units_of(runs[0], name), mine).interval(level)
        half = max(interval.high - interval.mean, interval.mean - interval.low)
        if not half <= size:
            found.append(f"{run.method} {name} " + (f"+- {half:.3g}" if half == half else "(no interval)"))
    return found
