"""Prompt sets for a run: those of `prompts`, where public ones are fetched from the hub when they are first needed."""

from __future__ import annotations

from pathlib import Path

import prompts
from bench.errors import MissingError
from bench.runtime.log import note
from prompts import Prompt


def load_prompts(name_or_path: str) -> list[Prompt]:
    """The prompts of a set or a file. Raises PromptError, or MissingError for a public set that cannot be had."""
    return prompts.load(name_or_path, fetch=_fetch)


def _fetch(dataset: str, revision: str, file: str) -> Path:
    from metrics.errors import MissingWeightsError
    from metrics.weights.hub import fetch_file
    from metrics.weights.hub_name import HubName

    if not revision:
        note(
            f"the prompts of {dataset} are not pinned to a revision: they are taken as they are, and their digest is "
            "part of the run",
            once=True,
        )
    try:
        return fetch_file(HubName(dataset, revision or None, file, dataset=True))
    except MissingWeightsError as error:
        raise MissingError(str(error).replace("weights '", "the prompts '", 1).rstrip(".")) from None
