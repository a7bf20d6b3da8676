"""What is known of published checkpoints, applied to the methods of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.methods.checkpoints import Checkpoint, find_checkpoint, published, repository
from bench.methods.method import Method

if TYPE_CHECKING:
    from bench.suite.schema import Suite


def rewards_of(weights: str | None) -> tuple[str, ...]:
    """What a published checkpoint was trained on; () for any other."""
    known = find_checkpoint(weights) if weights is not None else None
    return known.trained_on if known is not None else ()


def check_checkpoint_family(method: Method, suite: Suite) -> None:
    """UsageError for a published checkpoint of another model family than the suite's, before anything is fetched."""
    if suite.model.endpoint is not None:  # a name there is whatever its server calls so
        return
    known = find_checkpoint(method.weights) if method.weights else None
    if known is not None and known.family != suite.model.family:
        fitting = [one.weights for one in published(family=suite.model.family)]
        others = f" Published for '{suite.model.family}': {', '.join(fitting)}." if fitting else ""
        raise UsageError(
            f"method '{method.row_name}': the checkpoint {known.weights} was tuned from {known.base} (family "
            f"'{known.family}'), but the model of suite '{suite.name}' is of family '{suite.model.family}'.{others}"
        )


def no_weights(method: Method, suite: Suite) -> str:
    """That a method has no tuned weights in this suite, which ones are published, and how to train or give some."""
    like = suite.methods[method.row_name].like if method.row_name in suite.methods else None
    own = published(like or method.row_name)
    names = [*method.checkpoints, *(one.weights for one in _fitting(own, suite))]
    if names:
        there = f"published checkpoints are {', '.join(names)}"
    elif own:
        families = sorted({one.family for one in own})
        there = f"its published checkpoints are for other models: {', '.join(families)}"
    elif method.train == "refl":
        there = "the paper's authors published no ReFL checkpoint"
    else:
        there = "none is known to be published"
    if not names and (others := [one.weights for one in _fitting(published(), suite)]):
        there += f"; checkpoints of other methods: {', '.join(others)}"
    train = f"train one with `bench train {method.train} --suite {suite.name}`, or " if method.train else ""
    return (
        f"method '{method.row_name}' needs tuned weights, and suite '{suite.name}' names none ({there}): "
        f"{train}pass them with `--set weights=PATH_OR_HUB_ID`"
    )


def _fitting(checkpoints: Sequence[Checkpoint], suite: Suite) -> list[Checkpoint]:
    """Those for the suite's own base model if there are any, else those for its family."""
    of_family = [checkpoint for checkpoint in checkpoints if checkpoint.family == suite.model.family]
    base = repository(suite.model.weights)
    return [one for one in of_family if one.base == base] or of_family
