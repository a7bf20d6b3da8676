"""What a run would make, fetch and cost, and what it could tell. `bench.plan` is `plan` of this module."""

from __future__ import annotations

import logging
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.analysis.pilot import Spread, spreads
from bench.errors import UsageError
from bench.formatting import counted
from bench.generation.generate import actions_for
from bench.generation.recording import refuse_outdated
from bench.methods.catalogue import Method
from bench.models.old_runs import doubts
from bench.models.weights import resolve
from bench.pipeline.fetching import Fetch, metrics_to_fetch, weights_of
from bench.pipeline.prepare import Setting, chosen_suite, resolved_methods, scored_by
from bench.registry.plugins import load_plugins
from bench.sampling.tree import Action, build_tree, executed, needed
from bench.store.on_object_stores import on_object_stores
from bench.store.run_store import RunStore, find_runs
from bench.store.runs import Run, read_run
from bench.suite.plan import RunPlan, make_plan
from bench.suite.prompts import load_prompts
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Detectable:
    """Of one metric, from earlier runs: what N prompts x K images could tell. NaN: not known; inf: no number would do.

    `prompts` and `samples` are how many of them a difference of `target` takes, each with the other as planned.
    """

    metric: str
    of: str
    detects: float
    allowance: float
    target: float
    prompts: float
    samples: float
    cheaper: str


@dataclass(frozen=True)
class Plan:
    """The answers of `bench plan`. Numbers that nothing is known about are NaN."""

    suite: str
    methods: tuple[str, ...]
    prompts: int
    samples: int
    images: int
    missing: int
    evaluations_alone: int
    evaluations_shared: int
    fetch: tuple[Fetch, ...]
    seconds: float
    disk_megabytes: float
    pilot: str
    detectable: tuple[Detectable, ...] = ()

    @property
    def rows(self) -> dict[str, Any]:
        """Plain JSON data: what `bench plan --json` prints. NaN and infinity are null."""
        rows: dict[str, Any] = _plain(asdict(self))
        return rows


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@on_object_stores()
def plan(
    suite: Suite | str | Path = "shapes",
    methods: Method | str | Sequence[Method | str] = ("base",),
    *,
    settings: Mapping[str, Setting] | None = None,
    prompts: str | Path | None = None,
    prompt_column: str | None = None,
    samples: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    replicates: bool = False,
    metrics: Sequence[str] | None = None,
    protocol: str = "corrected",
    dtype: str | None = None,
    compile: bool = False,
    fuse_lora: bool = False,
    detect: Mapping[str, float] | None = None,
    results: Path | str = Path("results"),
    plugins: Sequence[Path | str] = (),
) -> Plan:
    """What `bench.run` with the same arguments would make, fetch and cost. Nothing is made, fetched or loaded.

    Seconds and disk come from earlier runs in `results`, as do the differences that it could tell (a pilot: any
    earlier runs of the suite). `detect` asks how many prompts a difference takes, {"lpips": 0.01}.

    >>> import bench
    >>> bench.plan("shapes", ["base"], limit=2, results=RESULTS).images
    10
    """
    load_plugins(plugins)
    overrides: dict[str, Any] = {"samples": samples, "limit": limit, "seed": seed, "metrics": metrics, "dtype": dtype}
    overrides |= {"prompt_column": prompt_column, "compile": compile or None, "fuse_lora": fuse_lora or None}
    chosen = chosen_suite(suite, prompts=None if prompts is None else str(prompts), **overrides)
    listed = [methods] if isinstance(methods, str | Method) else methods
    resolved = resolved_methods(listed, chosen, settings, replicates=replicates)
    wanted = load_prompts(chosen.prompts, chosen.prompt_column)
    fetch = metrics_to_fetch(scored_by(chosen, protocol))
    weights = weights_of(chosen, resolved)
    fetch = [*weights.absent, *fetch]
    plans = make_plan(chosen, resolved, wanted, weights.digests, weights.loaders, weights.adapters)
    stores = [RunStore(Path(results) / "runs" / chosen.name / plan.name) for plan in plans]
    refuse_outdated(stores)
    missing = sum(_missing(plan, store) for plan, store in zip(plans, stores, strict=True))
    actions = {plan.name: actions_for(plan, chosen.sampler.steps) for plan in plans}
    images, per_plan = sum(len(plan.items) for plan in plans), len(plans[0].items)
    earlier = _earlier(Path(results), chosen.name)
    numbers, absent = {len(one) for one in actions.values()}, {one.name for one in weights.absent}
    per_step, unguided = _per_step(chosen, numbers, absent), _unguided(chosen, numbers, absent)
    alone, shared = (per_plan * count for count in _evaluations(plans, actions, per_step, unguided))
    share = missing / images if images else 0.0
    return Plan(
        suite=chosen.name,
        methods=tuple(plan.method.name for plan in plans),
        prompts=len(plans[0].prompts),
        samples=chosen.samples,
        images=images,
        missing=missing,
        evaluations_alone=alone,
        evaluations_shared=shared,
        fetch=tuple(fetch),
        seconds=_seconds(earlier, shared * share, missing),
        disk_megabytes=_megabytes(earlier, missing, chosen.resolution),
        pilot=f"{counted(len(earlier), 'earlier run')} of {chosen.name} in {results}" if earlier else "",
        detectable=tuple(_detectable(earlier, len(plans[0].prompts), chosen.samples, dict(detect or {}))),
    )


def _per_step(suite: Suite, numbers: Iterable[int], absent: Container[str]) -> dict[int, tuple[int, ...]]:
    """How often each step evaluates its networks, for each number of steps; without one where it cannot be told."""
    from bench.models.schedulers import planned_calls

    if suite.model.endpoint is not None:
        return {}
    folder = None if suite.model.weights in absent else resolve(suite.model.weights)
    found = {steps: planned_calls(suite.sampler, steps, folder) for steps in numbers}
    if not all(found.values()):
        logger.warning(
            f"{suite.sampler.scheduler} cannot be set up without its model: one evaluation a step is planned"
        )
    return {steps: calls for steps, calls in found.items() if calls}


def _unguided(suite: Suite, numbers: Iterable[int], absent: Container[str]) -> dict[int, tuple[int, ...]]:
    """At how many evaluations of each step `model.cfg_truncation` leaves guidance out, for each number of steps."""
    if suite.model.cfg_truncation is None or suite.model.cfg_truncation >= 1.0:
        return {}
    from bench.models.z_image import Truncation, planned_timesteps
    from bench.sampling.loop import unguided_per_step

    folder = None if suite.model.weights in absent else resolve(suite.model.weights)
    schedulers = {steps: planned_timesteps(suite, steps, folder) for steps in numbers}
    if not all(schedulers.values()):
        logger.warning(
            "model.cfg_truncation: which steps have no guidance is not known without the model: all are planned with it"
        )
    found = {steps: unguided_per_step(Truncation.of(suite), one) for steps, one in schedulers.items() if one}
    return {steps: bare for steps, bare in found.items() if len(bare) == steps}


def _evaluations(
    plans: Sequence[RunPlan],
    actions: Mapping[str, tuple[Action, ...]],
    per_step: Mapping[int, tuple[int, ...]],
    unguided: Mapping[int, tuple[int, ...]],
) -> tuple[int, int]:
    """Network evaluations of one image of each plan, alone and with shared steps; all candidates of a search count."""
    candidates = {plan.name: plan.method.candidates for plan in plans}
    alone = {
        name: needed({name: one}, per_step.get(len(one)), unguided.get(len(one)))[name] * candidates[name]
        for name, one in actions.items()
    }
    shared = sum(count for name, count in alone.items() if candidates[name] > 1)
    for steps in {len(one) for one in actions.values()}:  # methods with other steps share none
        together = {name: one for name, one in actions.items() if len(one) == steps and candidates[name] == 1}
        if together:
            shared += sum(executed(build_tree(together), per_step.get(steps), unguided.get(steps)).values())
    return sum(alone.values()), shared


def _missing(plan: RunPlan, store: RunStore) -> int:
    have = {row.key for row in store.images()} if store.exists() else set()
    return len(plan.missing(have))


def _earlier(results: Path, suite: str) -> list[Run]:
    """Finished runs of the suite, one a method: the newest with the most prompts."""
    folder = results / "runs" / suite
    stores = list(find_runs(folder)) if folder.is_dir() else []
    found: dict[str, Run] = {}
    outdated = {path for path, doubt in doubts(stores).items() if doubt.certain}
    for store in stores:
        if store.path not in outdated and store.manifest().status == "complete":
            run = read_run(store)
            known = found.get(run.method)
            if known is None or len(run.prompts) >= len(known.prompts):
                found[run.method] = run
    most = max((len(run.prompts) for run in found.values()), default=0)
    return [run for run in found.values() if len(run.prompts) == most]


def _seconds(earlier: Sequence[Run], evaluations: float, images: int) -> float:
    """From the seconds of earlier runs a network evaluation, and a scored image; NaN without any."""
    generating = [
        float(run.timings["generate_seconds"]) / run.counts["network_evaluations_executed"]
        for run in earlier
        if run.timings.get("generate_seconds") and run.counts.get("network_evaluations_executed")
    ]
    scoring = [
        float(run.timings["score_seconds"]) / run.n_images for run in earlier if run.timings.get("score_seconds")
    ]
    if not generating:
        return math.nan
    seconds: float = max(generating) * evaluations + (max(scoring) if scoring else 0.0) * images
    return seconds


def _megabytes(earlier: Sequence[Run], images: int, resolution: int) -> float:
    """From the picture files of earlier runs of this resolution, else what pixels take without compression."""
    for run in earlier:
        sizes = [path.stat().st_size for path in sorted((run.path / "images").glob("*/*.png"))[:200]]
        if sizes and run.conditions.get("resolution") == resolution:
            return images * sum(sizes) / len(sizes) / 1e6
    return images * 3 * resolution**2 / 1e6


def _detectable(earlier: Sequence[Run], prompts: int, samples: int, detect: dict[str, float]) -> list[Detectable]:
    known = {spread.metric: spread for spread in spreads(earlier)}
    for name in detect:
        if name not in known:
            told = (
                f"there are no two earlier runs with {name} to learn from" if earlier else "there are no earlier runs"
            )
            raise UsageError(f"--detect {name}: {told}: run a pilot first, for example with --limit 32")
    return [_row(one, prompts, samples, detect.get(name, math.nan)) for name, one in known.items()]


def _row(spread: Spread, prompts: int, samples: int, target: float) -> Detectable:
    detects = spread.detects(prompts, samples) if prompts > 1 else math.nan
    if math.isnan(target):
        more, images = math.nan, math.nan
    else:
        more, images = spread.prompts_for(target, samples), spread.samples_for(target, max(2, prompts))
    cheaper = ""
    if math.isfinite(more) and not math.isnan(images):
        ways = sorted([(more * samples, "prompts"), (images * prompts, "samples")])
        (least, name), (most, _) = ways
        against = f"{most:,.0f}" if math.isfinite(most) else "no number"
        cheaper = f"{name} ({least:,.0f} images against {against})" if math.isfinite(least) else ""
    allowance = spread.allowance(prompts, samples) if prompts > 1 else math.nan
    return Detectable(spread.metric, spread.of, detects, allowance, target, more, images, cheaper)
