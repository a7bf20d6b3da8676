"""What a metric of the official protocol says of a whole run: the one number that the official code would log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import metrics
from bench.scoring.missing import Key, Target
from bench.store.images import image_size
from metrics.types import corrected_name


def logged_note(name: str, metric: Any, target: Target, features: Mapping[Key, Any]) -> str:
    """A sentence for the notes of a run. `features` are those of all its images, for a group metric only."""
    import torch

    keys = [row.key for rows in target.images.values() for row in rows]
    if metrics.info(name).kind == metrics.Kind.GROUP:
        rows = [features.get(key) for key in keys]
        known = [row for row in rows if row is not None and not isinstance(row, str)]
        sizes = {len(rows) for rows in target.images.values()}
        missing = len(keys) - len(known)
        if not missing and len(sizes) > 1:
            return f"the official code logs one number, of {_numbers(sizes)} images per prompt alike: not made here"
        logged = metric.logged(torch.stack(known), sizes.pop()) if known and not missing else None
    else:
        values = {row.key: row.value for row in target.store.scores(name)}
        found = torch.tensor([values.get(key, math.nan) for key in keys])
        missing = int((~found.isfinite()).sum())
        logged = metric.logged(found) if not missing else None
    if logged is None:
        return f"the official code would log NaN: {missing} of {len(keys)} images have no value"
    told = f"the official code would log {logged.value:.6g}, {logged.how}"
    return f"{told}; no image had to be resized" if _unresized(metric, target) else told


def _numbers(sizes: set[int]) -> str:
    return " and ".join(map(str, sorted(sizes)))


def _unresized(metric: Any, target: Target) -> bool:
    """Whether all images have the size of the network, so that nothing depends on how they are resized."""
    size = int(metric.card.settings["image_size"])
    paths = [target.store.path / row.path for rows in target.images.values() for row in rows]
    return all(image_size(path) == (size, size) for path in paths)


def features_of_all(name: str) -> bool:
    """Whether a metric needs the features of all images of a run, as positional groups do."""
    return corrected_name(name) != name and metrics.info(name).kind == metrics.Kind.GROUP
