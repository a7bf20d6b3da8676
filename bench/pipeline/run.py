"""The main job: plan -> generate -> score -> summarise. `bench.run` is `run` of this module."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.engines.choose import chosen_engine
from bench.engines.options import EngineOptions
from bench.errors import UsageError, unknown
from bench.generation.loaded import Settings
from bench.methods.catalogue import Method
from bench.pipeline.job import Job, complete
from bench.pipeline.prepare import Setting, check_scoring, chosen_suite, planned, resolved_methods, scored_by
from bench.pipeline.shard import check_share, run_share
from bench.pipeline.unchanged import unchanged
from bench.registry.plugins import load_plugins
from bench.runtime.devices import check_device
from bench.runtime.progress import Progress
from bench.runtime.share import read_share
from bench.store.names import check_given, give_name
from bench.store.on_object_stores import on_object_stores
from bench.store.run_store import RunStore, lock_runs
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

RESUME = ("missing", "never", "always")


@on_object_stores(writes=True, pictures=True)
def run(
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
    name: str | None = None,
    results: Path | str = Path("results"),
    resume: str = "missing",
    device: str = "auto",
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float | None = None,
    shard: str | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    fuse_lora: bool = False,
    until: str | None = None,
    thresholds: Path | str | None = None,
    max_prompts: int | None = None,
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> list[RunStore]:
    """Generate what is missing, score it, summarise it; one store per method, in order. Does what `bench run` does.

    `suite` is a `Suite`, or the name or path of one; `methods` are names or resolved methods (one may stand alone). All
    methods of one call see the same noise and share their common steps. `settings` are those of `--set`: a value, or
    several for a sweep ({"switch_step": [20, 30]}). `prompts`, `prompt_column`, `samples`, `limit`, `seed`,
    `metrics` (names) and `dtype` replace the suite's. `replicates`: with every checkpoint that the suite names as a
    replicate of a method's training, each a run of its own. `protocol` "official" scores those metrics that the
    evaluation code of ImageReFL computes as it does, under names of their own ("hpsv2.1@official", docs/protocol.md).
    `resume` is "missing" (generate only what is missing) or "never" (regenerate everything). A `batch_size` of None is
    found by the device's memory. `compile` compiles networks and decoders with torch.compile: other last bits, and so a
    run of its own, as with the suite's key `compile`; `fuse_lora` fuses LoRAs into the weights in methods that run the
    tuned network alone, the same of those.

    `name` names the run of a single method (`bench.store.names`): where a run is named, that is tried before methods.

    `engine` "ray" makes and scores on a Ray cluster: at `address` ("auto": the one this machine is in; None: one of its
    own on this machine), with `workers` processes of `gpus_per_worker` GPUs each (docs/scale.md). `shard` "2/8" makes
    the second of eight shares of the work in one results folder; the last share that ends completes the runs, and
    until then they are `running`, and the calls return none. Images and values are the same either way, to the bit.

    `until` makes prompts, in an order fixed by the seed, only until a question is answered: "lpips=0.01" until every
    difference to the first method is known to that, "decided" until every line of `thresholds` is decided; at most
    `max_prompts` (`bench.pipeline.adaptive`).

    Raises BenchError, one sentence each: UsageError (wrong input), MissingError (weights, package or device absent).
    What was finished stays, and the same call goes on from there. What cannot be scored is told before the first image;
    where a metric fails all the same, the runs are finished with the others, and the error has them as `stores`.

    >>> import bench
    >>> stores = bench.run("shapes", ["base"], limit=1, samples=1, metrics=["pickscore"], results=RESULTS)
    >>> [store.suite for store in stores]
    ['shapes']
    """
    load_plugins(plugins)
    overrides: dict[str, Any] = {"samples": samples, "limit": limit, "seed": seed, "metrics": metrics, "dtype": dtype}
    overrides |= {"prompt_column": prompt_column, "compile": compile or None, "fuse_lora": fuse_lora or None}
    chosen = chosen_suite(suite, prompts=None if prompts is None else str(prompts), **overrides)
    scoring = scored_by(chosen, protocol, making=True)
    options = EngineOptions(engine, workers, address, gpus_per_worker)
    options.check()
    _check_choices(resume, device, batch_size, here=engine != "ray")
    share = None if shard is None else read_share(shard)
    if share is not None:
        check_share(options, resume, until)
    if chosen.model.endpoint is not None and (share is not None or options.engine != "local"):
        raise UsageError("an endpoint is asked from one process: omit --engine and --shard, and set its concurrency")
    listed = [methods] if isinstance(methods, str | Method) else methods
    resolved = resolved_methods(listed, chosen, settings, replicates=replicates)
    made_with = Settings(batch_size, device, resume)
    if until is not None:
        from bench.pipeline.adaptive import grow, read_rule

        if name is not None:
            raise UsageError("--name does not go with --until: give the name with a second call, without --until")
        rule = read_rule(until, thresholds, max_prompts)
        with chosen_engine(options) as work:
            return grow((chosen, scoring), resolved, rule, Path(results), made_with, progress, work)
    if thresholds is not None or max_prompts is not None:
        raise UsageError("--thresholds and --max-prompts require --until")
    plans = planned(chosen, resolved)
    if name is not None:
        check_given(name, len(plans))
    check_scoring(scoring, plans, Path(results))
    stores = [RunStore.create(Path(results), chosen.name, plan.method.safe_name, plan.hash8) for plan in plans]
    job = Job(plans, (chosen, scoring), stores, made_with, name, progress)
    if share is not None:
        return stores if run_share(job, share) else []
    with lock_runs(stores):  # from the first image to `complete`: no other process replaces a run between two stages
        if resume != "never" and unchanged(plans, (chosen, scoring), stores):
            if name is not None:
                give_name(stores[0], name, Path(results))
            logger.info("nothing to do: all images and scores exist")
            return stores
        with chosen_engine(options, scoring) as work:
            made = complete(job, work)
    if not made:
        logger.info("nothing to do: all images and scores exist")
    return stores


def _check_choices(resume: str, device: str, batch_size: int | None, here: bool) -> None:
    """UsageError for a value that is not one of those allowed, MissingError for what is not on this machine."""
    if resume not in RESUME:
        raise unknown("resume mode", resume, RESUME)
    check_device(device, here)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, got {batch_size}")
