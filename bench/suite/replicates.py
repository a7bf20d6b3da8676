"""Training seeds: one method, several checkpoints of the same training with other seeds.

`[methods.refl] replicates = ["a", "b", "c"]` names them, `weights` the one that `bench run --method refl` runs
(default: the first). `bench run --method refl --replicates` runs all: that one as `refl`, and the others as
`refl[replicate=1]`, `refl[replicate=2]`, by their place in the list from 0. What the runs say of the method is made of
them in `bench.analysis.checkpoints`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.methods.catalogue import Method

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


def with_replicates(methods: Sequence[Method], suite: Suite) -> list[Method]:
    """Each method with the other checkpoints of its training behind it.

    UsageError: a method is given other weights, or the suite names replicates for none of them. A trained method
    without any among others that have some is said and stays as it is.
    """
    found = [_checkpoints(method, suite) for method in methods]
    if all(len(one) == 1 for one in found):
        names = ", ".join(dict.fromkeys(method.row_name for method in methods))
        raise UsageError(
            f"suite '{suite.name}' names no replicates of {names}: add [methods.NAME] replicates = [...] to its file"
        )
    alone = [one.name for (one, *rest) in found if not rest and one.uses_weights]
    if alone:
        logger.warning(f"suite '{suite.name}' names no replicates of {', '.join(alone)}: one checkpoint is run")
    return [method for one in found for method in one]


def _checkpoints(method: Method, suite: Suite) -> list[Method]:
    override = suite.methods.get(method.row_name)
    if override is None or not override.replicates or not any(method.weights_at(suite.sampler.steps)):
        return [method]
    if "weights" in dict(method.settings):
        raise UsageError(
            f"method '{method.name}' is given weights, and --replicates runs those of the suite: leave out one of both"
        )
    others = [
        _replicate(method, number, weights)
        for number, weights in enumerate(override.replicates)
        if weights != method.weights
    ]
    return [method, *others]


def _replicate(method: Method, number: int, weights: str) -> Method:
    name, bracket, settings = method.name.partition("[")
    inner = [settings.removesuffix("]")] if bracket else []
    named = f"{name}[{','.join([*inner, f'replicate={number}'])}]"
    return dataclasses.replace(method, name=named, weights=weights, replicate_of=method.name, replicate=number)


def check_digests(methods: Sequence[Method], digests: Mapping[str, str]) -> None:
    """UsageError for a replicate with the very weights of another: a copy is no other training."""
    seen: dict[tuple[str, str], str] = {}
    for method in methods:
        if method.weights is None or method.weights not in digests:
            continue
        of, digest = method.replicate_of or method.name, digests[method.weights]
        other = seen.setdefault((of, digest), method.weights)
        if other != method.weights:
            raise UsageError(
                f"replicates '{other}' and '{method.weights}' of method '{of}' have the same weights (sha256 "
                f"{digest[:12]}): a copy of a checkpoint is no other training; name each training once"
            )
