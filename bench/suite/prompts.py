"""Prompt sets for a run: those of `prompts`, where public ones are fetched from the hub when they are first needed."""

from __future__ import annotations

from pathlib import Path

import prompts
from bench.errors import MissingError
from bench.runtime.log import ONCE, get_logger
from prompts import Prompt

logger = get_logger(__name__)


def load_prompts(name_or_path: str, column: str | None = None) -> list[Prompt]:
    """The prompts of a set or a file, where `column` may name the column that holds them.

    Raises PromptError, or MissingError for a public set that cannot be had.
    """
    return prompts.load(name_or_path, fetch=_fetch, column=column)


def _fetch(dataset: str, revision: str, file: str) -> Path:
    from metrics.errors import MissingWeightsError
    from metrics.weights.hub import fetch_file
    from metrics.weights.hub_name import HubName

    if not revision:
        logger.warning(
            f"the prompts of {dataset} are not pinned to a revision; the current ones are used, and their digest is "
            "part of the run's identity",
            extra=ONCE,
        )
    try:
        return fetch_file(HubName(dataset, revision or None, file, dataset=True))
    except MissingWeightsError as error:
        raise MissingError(str(error).replace("weights '", "the prompts '", 1).rstrip(".")) from None
