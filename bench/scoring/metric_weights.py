"""The weights of metrics: which ones a suite's name means, without loading them, and how a metric is loaded from it.

"shapes:NAME" and local paths are found here; names of the hub are left to `metrics`, which knows the files and formats
of each metric (it reads pickles without running code) and whether they are the published ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import metrics
from bench.errors import MissingError
from bench.models.metric_paths import metric_weights
from bench.models.weights import digest, hub_name, resolve, split_pin
from bench.suite.metric_spec import MetricSpec
from metrics.weights.hub import cached, commit_of
from metrics.weights.pins import pinned
from prompts.catalogue import public_sets
from prompts.public import PublicSetError, files_of

_OF_NETWORK = ("backbone_dtype", "url", "model")
"""Options that decide which network a metric is loaded with."""


def load_metric(name: str, spec: MetricSpec | None, device: str, label: str | None = None) -> Any:
    """The metric of a suite, loaded. Raises BenchError or metrics.MetricError, one sentence each."""
    if spec is None:
        spec = MetricSpec()
    facts = metrics.info(name)
    paths = facts.weight_options
    options = {key: metric_weights(value) if key in paths else value for key, value in spec.options.items()}
    if facts.prompt_set and options.get("questions") is None:
        options["questions"] = _questions_of(facts.prompt_set)
    if is_served(name, spec):
        _reach_judges()
    how: dict[str, Any] = {"device": device, "label": label, "dtype": spec.dtype, "tf32": spec.tf32}
    return metrics.load(name, weights=metric_weights(spec.weights), **how, **options)


def _reach_judges() -> None:
    from bench.models.judge_endpoint import connect
    from metrics.judge.opened import connect_by

    connect_by(connect)


def is_served(name: str, spec: MetricSpec) -> bool:
    """Whether a server has the metric's network, so that no weights are needed here."""
    known = name in metrics.names() and "url" in metrics.info(name).address_options
    return known and spec.options.get("url") is not None


def network_of(name: str, spec: MetricSpec) -> str | None:
    """What metrics have in common that are loaded with one network between them; None for a metric with its own."""
    facts = metrics.info(name)
    if not facts.network:
        return None
    told = {**facts.options, **spec.options}
    return json.dumps([facts.network, spec.weights or facts.weights, *map(str, map(told.get, _OF_NETWORK))])


def _questions_of(prompt_set: str) -> Path:
    """The file of a public prompt set that has one, known by its digest. Raises MissingError where it is not here."""
    try:
        return files_of(public_sets()[prompt_set])[0]
    except PublicSetError as error:
        raise MissingError(str(error)) from None


def identity_of(spec: str, beside: Sequence[str]) -> Any:
    """What decides the weights that a name means: the content of its files, or for the hub its name and the commit.

    A metric may read more than a file that is named: what matches `beside`, globs in the folder of that file, counts as
    well. Raises MissingError where there is nothing.
    """
    name, _ = split_pin(spec)
    if hub_name(name) is not None:
        return {"hub": name, "commit": _commit(name)}
    path = resolve(spec)
    others = {} if path.is_dir() else _beside(path, beside)
    return {"file": digest(path), "beside": others} if others else digest(path)


def here(spec: str | None, published: str | None) -> Path | None:
    """Where the weights of a metric are on this machine; None where they are not. Nothing is fetched.

    Raises MissingError for a local path that does not exist.
    """
    name = pinned(published or "") if spec is None else split_pin(spec)[0]
    if not name:
        return None
    return cached(name) if spec is None or hub_name(name) is not None else resolve(name)


def _commit(name: str) -> str | None:
    path = cached(name)
    return None if path is None else commit_of(path)


def _beside(file: Path, beside: Sequence[str]) -> Mapping[str, str]:
    found = {path for pattern in beside for path in file.parent.glob(pattern) if path.is_file() and path != file}
    return {path.relative_to(file.parent).as_posix(): digest(path) for path in sorted(found)}
