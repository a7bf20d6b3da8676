"""The main job: plan -> generate -> score -> summarise. `bench.run` is `run` of this module."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError, unknown
from bench.generation.generate import Settings, generate
from bench.methods.catalogue import Method
from bench.methods.conditions import check_conditions, conditions_of
from bench.models.load import check_guidance
from bench.models.weights import digest_of, trained_on
from bench.pipeline.finish import check_images, mark_complete, score_and_summarise
from bench.registry.plugins import load_plugins
from bench.runtime.devices import check_device
from bench.runtime.progress import Progress
from bench.store.run_store import RunStore, lock_runs
from bench.suite.load import load_suite
from bench.suite.plan import RunPlan, guidance_of, make_plan, weights_names
from bench.suite.prompts import load_prompts
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

RESUME = ("missing", "never", "always")
ENGINES = ("local",)
Setting = str | int | float | Sequence[str | int | float]
"""A value of `--set`, or several for a sweep."""


def run(
    suite: Suite | str | Path = "shapes",
    methods: Method | str | Sequence[Method | str] = ("base",),
    *,
    settings: Mapping[str, Setting] | None = None,
    prompts: str | Path | None = None,
    samples: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    metrics: Sequence[str] | None = None,
    dtype: str | None = None,
    results: Path | str = Path("results"),
    resume: str = "missing",
    device: str = "auto",
    engine: str = "local",
    batch_size: int | None = None,
    compile: bool = False,
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> list[RunStore]:
    """Generate what is missing, score it, summarise it; one store per method, in order. Does what `bench run` does.

    `suite` is a `Suite`, or the name or path of one; `methods` are names or resolved methods (one may stand alone). All
    methods of one call see the same noise and share their common steps. `settings` are those of `--set`: a value, or
    several for a sweep ({"switch_step": [20, 30]}). `prompts`, `samples`, `limit`, `seed`, `metrics` (names) and
    `dtype` replace the suite's. `resume` is "missing" (generate only what is missing) or "never" (regenerate
    everything). A `batch_size` of None is found by the device's memory; `compile` compiles the networks.

    Raises BenchError, one sentence each: UsageError (wrong input), MissingError (weights, package or device absent).
    What was finished stays, and the same call goes on from there.

    >>> import bench
    >>> stores = bench.run("shapes", ["base"], limit=1, samples=1, metrics=["pickscore"], results=RESULTS)
    >>> [store.suite for store in stores]
    ['shapes']
    """
    load_plugins(plugins)
    overrides = {"samples": samples, "limit": limit, "seed": seed, "metrics": metrics, "dtype": dtype}
    chosen = chosen_suite(suite, prompts=None if prompts is None else str(prompts), **overrides)
    _check_choices(resume, engine, device, batch_size)
    resolved = resolved_methods([methods] if isinstance(methods, str | Method) else methods, chosen, settings)
    plans = _planned(chosen, resolved)
    stores = [RunStore.create(Path(results), chosen.name, plan.method.safe_name, plan.hash8) for plan in plans]
    with lock_runs(stores):  # from the first image to `complete`: no other process replaces a run between two stages
        made = generate(plans, chosen, stores, Settings(batch_size, device, resume, compile), progress)
        values = score_and_summarise(stores, chosen, device, progress)
        check_images(stores)
        mark_complete(stores)
    if made == 0 and values == 0:
        logger.info("nothing to do: all images and scores exist")
    return stores


def chosen_suite(suite: Suite | str | Path, **overrides: Any) -> Suite:
    """The suite, loaded where it is named, with what replaces its settings (None: its own)."""
    return (suite if isinstance(suite, Suite) else load_suite(suite)).override(**overrides)


def resolved_methods(
    methods: Sequence[Method | str], suite: Suite, settings: Mapping[str, Setting] | None
) -> list[Method]:
    """Names resolved in the suite, sweeps written out in their place; methods that are resolved already stay."""
    texts = {key: _setting_text(value) for key, value in (settings or {}).items()}
    names = [method for method in methods if isinstance(method, str)]
    if len(names) == len(methods):
        return resolve_methods(names, suite, texts)
    if texts:
        raise UsageError("settings apply only to methods given by name, but a resolved method was given")
    listed = [resolve_methods([method], suite) if isinstance(method, str) else [method] for method in methods]
    return list({method.name: method for found in listed for method in found}.values())


def _setting_text(value: Setting) -> str:
    """A setting as `--set` writes it: 20 -> "20", [20, 30] -> "20,30"."""
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, Sequence) else str(value)


def _planned(suite: Suite, methods: Sequence[Method]) -> list[RunPlan]:
    """The plans of the methods, with the digests of all weights that run."""
    check_guidance(suite, {method.name: guidance_of(suite, method) for method in methods})
    for method in methods:
        conditions, sides = conditions_of(suite, method), guidance_of(suite, method).values()
        check_conditions(suite.model.family, conditions, sides, method.name)
    prompts = load_prompts(suite.prompts)  # before the weights, which may be many gigabytes to fetch
    digests = {name: digest_of(name) for name in weights_names(suite, methods)}
    trained = [_with_training(method) if method.weights in digests else method for method in methods]
    from bench.models.reading import loader_versions  # reads tensors

    return make_plan(suite, trained, prompts, digests, loader_versions(suite, _networks(suite, trained, digests)))


def _networks(suite: Suite, methods: Sequence[Method], digests: Container[str]) -> list[str]:
    """The weights names of the networks that run."""
    tuned = [method.weights for method in methods if method.weights is not None and method.weights in digests]
    return list(dict.fromkeys([suite.model.weights, *tuned]))


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


def _check_choices(resume: str, engine: str, device: str, batch_size: int | None) -> None:
    """UsageError for a value that is not one of those allowed, MissingError for what is not on this machine."""
    if resume not in RESUME:
        raise unknown("resume mode", resume, RESUME)
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    check_device(device)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, got {batch_size}")
