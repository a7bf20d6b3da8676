"""What `run`, `plan` and the adaptive run have in common: names -> suite, methods and plans."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import one_line
from bench.methods.catalogue import Method
from bench.methods.conditions import check_conditions, conditions_of
from bench.models.endpoint import check_served_methods, served_digests
from bench.models.load import check_guidance
from bench.models.weights import digest_of, trained_on
from bench.store.run_store import RunStore
from bench.suite.load import check_model, load_suite
from bench.suite.plan import RunPlan, guidance_of, make_plan, weights_names
from bench.suite.prompts import load_prompts
from bench.suite.protocol import under_protocol
from bench.suite.replicates import check_digests
from bench.suite.resolve import resolve_methods
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

Setting = str | int | float | Sequence[str | int | float]
"""A value of `--set`, or several for a sweep."""


def chosen_suite(suite: Suite | str | Path, **overrides: Any) -> Suite:
    """The suite, loaded where it is named, with what replaces its settings (None: its own).

    Raises UsageError, also for a suite without a model, which makes no images.
    """
    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    check_model(loaded)
    return loaded.override(**overrides)


def scored_by(suite: Suite, protocol: str, *, making: bool = False) -> Suite:
    """The suite with the metrics that a protocol scores; what that leaves out, and does not do, is logged."""
    scoring, sentences = under_protocol(suite, protocol, making=making)
    for sentence in sentences:
        logger.warning(one_line(sentence))
    return scoring


def resolved_methods(
    methods: Sequence[Method | str], suite: Suite, settings: Mapping[str, Setting] | None, *, replicates: bool = False
) -> list[Method]:
    """Names resolved in the suite, sweeps written out in their place; methods that are resolved already stay.

    `replicates`: with all checkpoints of their training.
    """
    texts = {key: _setting_text(value) for key, value in (settings or {}).items()}
    names = [method for method in methods if isinstance(method, str)]
    if len(names) == len(methods):
        return resolve_methods(names, suite, texts, replicates=replicates)
    if texts or replicates:
        what = "settings apply" if texts else "replicates apply"
        raise UsageError(f"{what} only to methods given by name, but a resolved method was given")
    listed = [resolve_methods([method], suite) if isinstance(method, str) else [method] for method in methods]
    return list({method.name: method for found in listed for method in found}.values())


def _setting_text(value: Setting) -> str:
    """A setting as `--set` writes it: 20 -> "20", [20, 30] -> "20,30"."""
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, Sequence) else str(value)


def planned(suite: Suite, methods: Sequence[Method]) -> list[RunPlan]:
    """The plans of the methods, with the digests of all weights that run, or of who serves them."""
    if suite.model.endpoint is not None:
        check_served_methods(suite, methods)
        prompts = load_prompts(suite.prompts, suite.prompt_column)
        digests = served_digests(suite, methods)
        check_digests(methods, digests)
        return make_plan(suite, methods, prompts, digests)
    check_guidance(suite, {method.name: guidance_of(suite, method) for method in methods})
    for method in methods:
        conditions, sides = conditions_of(suite, method), guidance_of(suite, method).values()
        check_conditions(suite.model.family, conditions, sides, method.name)
    prompts = load_prompts(
        suite.prompts, suite.prompt_column
    )  # before the weights, which may be many gigabytes to fetch
    digests = {name: digest_of(name) for name in weights_names(suite, methods)}
    check_digests(methods, digests)
    trained = [_with_training(method) if method.weights in digests else method for method in methods]
    from bench.models.reading import loader_versions, to_fuse  # reads tensors

    names = _networks(suite, trained, digests)
    return make_plan(suite, trained, prompts, digests, loader_versions(suite, names), to_fuse(suite, names))


def check_scoring(suite: Suite, plans: Sequence[RunPlan], results: Path) -> None:
    """Find what cannot be scored before the first image is made. Raises MissingError or UsageError.

    Nothing is asked where all runs are finished: then nothing is made, and scoring says what it misses.
    """
    from bench.scoring.ready import check_metrics_load

    stores = [RunStore(results / "runs" / suite.name / plan.name) for plan in plans]
    if not all(store.exists() and store.manifest().complete for store in stores):
        check_metrics_load(suite)


def _networks(suite: Suite, methods: Sequence[Method], digests: Container[str]) -> list[str]:
    """The weights names of the networks that run."""
    named = [name for method in methods for name in (method.weights, method.guider.weak_weights, *method.soup)]
    return list(dict.fromkeys([suite.model.weights, *(name for name in named if name is not None and name in digests)]))


def _with_training(method: Method) -> Method:
    """The method with the rewards and image sets that its checkpoint says it was trained on.

    Reports mark the ones, and warn of FID against the others. What the suite says holds for the suite's own weights,
    not for others that were given in their place, and not against what the weights themselves say of their rewards.
    """
    if method.weights is None:
        return method
    names = [name for name, _ in method.parts] or [method.weights]
    told = [trained_on(name) for name in names]
    rewards, images = (tuple(dict.fromkeys(one for pair in told for one in pair[index])) for index in (0, 1))
    replaced = bool({"weights", "soup"} & dict(method.settings).keys())
    searched = (str(method.search.reward),) if method.search is not None else ()
    known = [one for one in method.trained_on if one not in searched]
    silent = not all(pair[0] for pair in told)  # a part does not say: what was known before may be of it
    if rewards and set(rewards) | set(searched) != set(method.trained_on):
        if silent:
            rewards = tuple(dict.fromkeys([*rewards, *known]))
        elif known and not replaced:
            said = f"the suite says that {method.name} was trained on {', '.join(known)}"
            logger.warning(one_line(f"{said}, its weights say {', '.join(rewards)}: that of the weights counts"))
        method = dataclasses.replace(method, trained_on=tuple(dict.fromkeys([*rewards, *searched])))
    if images and (replaced or not method.trained_on_data):
        method = dataclasses.replace(method, trained_on_data=images)
    return method
