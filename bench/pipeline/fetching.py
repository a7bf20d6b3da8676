"""What a suite needs and this machine has not, found without fetching anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import metrics as catalogue
import prompts
from bench.errors import BenchError, MissingError, UsageError
from bench.methods.catalogue import Method
from bench.models.endpoint import check_served_methods, served_digests, served_name, silent
from bench.models.weights import digest_of, hub_name, split_pin
from bench.scoring.metric_weights import here, is_served
from bench.suite.load import load_suite
from bench.suite.plan import weights_names
from bench.suite.schema import NO_MODEL, Suite
from metrics.weights.hub import cached


@dataclass(frozen=True, slots=True)
class Fetch:
    """Weights that are not on this machine. `megabytes` is None where the catalogue does not say."""

    name: str
    what: str
    megabytes: float | None


@dataclass(frozen=True, slots=True)
class Weights:
    """What `make_plan` is told of weights, as far as they are here; `absent` are those that are not."""

    absent: list[Fetch]
    digests: dict[str, str]
    loaders: dict[str, int] = field(default_factory=dict)
    adapters: frozenset[str] = frozenset()


def weights_of(suite: Suite, methods: Sequence[Method]) -> Weights:
    """The weights that run: their digests (stand-ins of those that are not here), and how they are read."""
    if suite.model.endpoint is not None:
        check_served_methods(suite, methods)
        absent = _silent(suite, methods)
        names = [served_name(suite, method) for method in methods]
        return Weights(absent, dict.fromkeys(names, "not asked") if absent else served_digests(suite, methods))
    absent = _weights_to_fetch(suite, methods)
    names = weights_names(suite, methods)
    unknown = {one.name for one in absent}
    digests = {name: "not fetched: " + name if name in unknown else digest_of(name) for name in names}
    from bench.models.reading import loader_versions, to_fuse  # reads tensors

    present = [name for name in names if name not in unknown]
    known = suite.model.weights in present  # how weights are read depends on the base model's folder
    return Weights(absent, digests, loader_versions(suite, present) if known else {}, to_fuse(suite, present))


def _silent(suite: Suite, methods: Sequence[Method]) -> list[Fetch]:
    """The served models that do not answer now, each asked once."""
    assert suite.model.endpoint is not None
    found = []
    for name in dict.fromkeys(served_name(suite, method) for method in methods):
        if (why := silent(name, suite.model.endpoint)) is not None:
            found.append(Fetch(name, f"model of an endpoint that does not answer: {why}", None))
    return found


def missing_for(suite: Suite | str | Path) -> list[Fetch]:
    """Everything that a suite needs and this machine has not: weights of the model, of its methods and of its metrics,
    its prompts and reference images, with megabytes where the catalogue says them. Nothing is fetched.
    """
    from bench.scoring.reference import reference_identity

    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    weights = [told.weights for told in chosen.methods.values() if told.weights]
    named = {} if chosen.model.family == NO_MODEL else {chosen.model.weights: "base model"}
    named |= dict.fromkeys(weights, "tuned weights")
    found: list[Fetch] = []
    if (spec := chosen.model.endpoint) is not None:
        why = {name: silent(name, spec) for name in named}
        found += [Fetch(name, f"model of an endpoint: {one}", None) for name, one in why.items() if one is not None]
        named = {}
    for name, what in named.items():
        try:
            there = cached(split_pin(name)[0]) is not None if hub_name(split_pin(name)[0]) else bool(digest_of(name))
        except BenchError:
            there = False
        found += [] if there else [Fetch(name, what, None)]
    found += metrics_to_fetch(chosen)
    if chosen.model.family != NO_MODEL:
        try:
            prompts.load(chosen.prompts, column=chosen.prompt_column)
        except prompts.MissingPromptsError:
            found.append(Fetch(chosen.prompts, "prompts", None))
    if chosen.reference is not None:
        try:
            reference_identity(chosen.reference)
        except MissingError:
            found.append(Fetch(str(chosen.reference.path), "reference images", None))
    return found


def _weights_to_fetch(suite: Suite, methods: Sequence[Method]) -> list[Fetch]:
    found = []
    for name in weights_names(suite, methods):
        plain = split_pin(name)[0]
        if hub_name(plain) is not None and cached(plain) is None:
            what = "base model" if name == suite.model.weights else "tuned weights"
            found.append(Fetch(name, what, None))
    return found


def metrics_to_fetch(suite: Suite) -> list[Fetch]:
    """Weights of metrics that are not on this machine; those of several metrics once."""
    found: dict[str, list[str]] = {}
    sizes: dict[str, float | None] = {}
    for name, spec in suite.metrics.items():
        facts = catalogue.info(name) if name in catalogue.names() else None
        published = facts.weights if facts is not None else None
        try:
            there = (spec.weights is None and not published) or here(spec.weights, published) is not None
        except BenchError as error:
            raise UsageError(f"metric {name}: {error}") from None
        if not there and not is_served(name, spec):
            known = facts.megabytes if facts is not None and spec.weights is None else None
            source = spec.weights or str(published)
            found.setdefault(source, []).append(name)
            sizes[source] = None if known is None else round(known)
    return [Fetch(source, f"metric {' and '.join(names)}", sizes[source]) for source, names in found.items()]
