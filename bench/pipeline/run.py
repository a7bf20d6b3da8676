"""The main job: plan -> generate -> score -> summarise. `bench.run` is `run` of this module."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis.summary import summarise
from bench.errors import MissingError, UsageError, unknown
from bench.generation.generate import Settings, generate
from bench.models.load import check_guidance
from bench.models.weights import digest_of, trained_on
from bench.runtime.devices import check_device
from bench.runtime.log import note
from bench.runtime.progress import Progress
from bench.scoring.score import score
from bench.store.run_store import RunStore, lock_runs
from bench.suite.load import load_suite
from bench.suite.plan import guidance_of, make_plan, weights_names
from bench.suite.prompts import load_prompts
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from bench.methods.catalogue import Method

RESUME = ("missing", "never", "always")
ENGINES = ("local", "ray")


def run(
    suite: Suite | str | Path,
    methods: Sequence[Method | str],
    *,
    results: Path | str = Path("results"),
    resume: str = "missing",
    device: str = "cpu",
    engine: str = "local",
    progress: Progress | None = None,
    batch_size: int | None = None,
    compile: bool = False,
) -> list[RunStore]:
    """Generate what is missing, score it, summarise it; one store per method, in order.

    `suite` is a Suite, or the name or path of one; methods are names or resolved methods. All methods of one call see
    the same noise and share their common steps. A `batch_size` of None is found; `compile` compiles the networks.
    Raises BenchError, one sentence each; what was finished stays.
    """
    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    if resume not in RESUME:
        raise unknown("resume mode", resume, RESUME)
    _check_engine(engine)
    check_device(device)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, got {batch_size}.")
    names = [method for method in methods if isinstance(method, str)]
    resolved = iter(resolve_methods(names, chosen) if names else [])
    wanted = [next(resolved) if isinstance(method, str) else method for method in methods]
    check_guidance(chosen, {method.name: guidance_of(chosen, method) for method in wanted})
    prompts = load_prompts(chosen.prompts)  # before the weights, which may be many gigabytes to fetch
    digests = {name: digest_of(name) for name in weights_names(chosen, wanted)}
    wanted = [_with_training(method) if method.weights in digests else method for method in wanted]
    plans = make_plan(chosen, wanted, prompts, digests)
    stores = [RunStore.create(Path(results), chosen.name, plan.method.safe_name, plan.hash8) for plan in plans]
    with lock_runs(stores):  # from the first image to `complete`: no other process replaces a run between two stages
        made = generate(plans, chosen, stores, Settings(batch_size, device, resume, compile), progress)
        values = _judge(stores, chosen, device, progress)
        _check_images(stores)
        _complete(stores)
    if made == 0 and values == 0:
        note("nothing to do: all images and scores are there.")
    return stores


def _with_training(method: Method) -> Method:
    """The method with the rewards and image sets that its checkpoint says it was trained on.

    Reports mark the ones, and warn of FID against the others. What the suite says holds for the suite's own weights,
    not for others that were given in their place.
    """
    if method.weights is None:
        return method
    rewards, images = trained_on(method.weights)
    replaced = "weights" in dict(method.settings)
    if rewards and (replaced or not method.trained_on):
        method = dataclasses.replace(method, trained_on=rewards)
    if images and (replaced or not method.trained_on_data):
        method = dataclasses.replace(method, trained_on_data=images)
    return method


def _judge(stores: Sequence[RunStore], suite: Suite, device: str, progress: Progress | None) -> int:
    """Score and summarise; the caller holds the runs. Summaries are written even if a metric cannot be loaded."""
    made = 0
    try:
        made = score(stores, suite, device=device, progress=progress)
    except (MissingError, UsageError):
        _summarise(stores, always=True)
        raise
    _summarise(stores, always=made > 0)
    return made


def _complete(stores: Sequence[RunStore]) -> None:
    """Write `complete`, last of all: images, scores and summary are there. The caller holds the runs."""
    for store in stores:
        manifest = store.manifest()
        if not manifest.complete:
            manifest.status = "complete"
            store.write_manifest(manifest)


def _check_images(stores: Sequence[RunStore]) -> None:
    """MissingError for a run without all of its images: it must not become `complete`."""
    for store in stores:
        if not _has_all_images(store):
            manifest = store.manifest()
            there, wanted = manifest.counts.get("images", 0), len(manifest.prompts) * manifest.samples
            raise MissingError(f"{store.name} has {there} of its {wanted} images: run the same command again.")


def _has_all_images(store: RunStore) -> bool:
    manifest = store.manifest()
    return int(manifest.counts.get("images", 0)) >= len(manifest.prompts) * manifest.samples


def _summarise(stores: Sequence[RunStore], always: bool) -> None:
    for store in stores:
        if always or store.summary() is None or _outdated(store):
            summarise(store)


def _outdated(store: RunStore) -> bool:
    """Whether the rows hold other metrics than the summary (a kill came between scoring and summarising)."""
    summary = store.path / "summary.json"
    newest = max((path.stat().st_mtime_ns for path in (store.path / "scores").glob("*/part-*.parquet")), default=0)
    return newest > summary.stat().st_mtime_ns


def _check_engine(engine: str) -> None:
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "ray":
        raise MissingError("the engine 'ray' is not part of this version: use --engine local.")
