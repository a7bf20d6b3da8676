"""What the manifest of a run says of its tuned weights: which they are, what they were trained on, their replicates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.store.records import Manifest

_SOUP = "soup "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tuned weights of a run, and which trainings of one method with other seeds there are."""

    of: str  # the method without the number of the replicate
    weights: str  # their name
    digest: str
    recipe: str  # digest of everything else that makes the run's pictures: equal for two checkpoints of one method
    replicates: tuple[str, ...] = ()  # the names of all checkpoints of that training, where the suite names any


def tuned_of(manifest: Manifest) -> str:
    """The digest of the tuned weights in a run's identity, without how strongly, or without what, they act.

    Of averaged weights all that they are averaged of, with the shares: "soup DIGEST*SHARE+...".
    """
    tuned = str(manifest.identity.get("tuned") or "")
    if tuned.startswith(_SOUP):
        return _SOUP + tuned.removeprefix(_SOUP).partition(" ")[0]
    return tuned.partition(" ")[0].partition("*")[0]


def averaged(tuned: str) -> tuple[str, ...]:
    """The digests of the weights that `tuned_of` says others are averaged of; () where they are not.

    >>> averaged("soup aaaa*0.5+bbbb*0.5"), averaged("aaaa")
    (('aaaa', 'bbbb'), ())
    """
    if not tuned.startswith(_SOUP):
        return ()
    return tuple(part.partition("*")[0] for part in tuned.removeprefix(_SOUP).split("+"))


def searched_by(manifest: Manifest) -> str:
    """The metric by which a run chose among candidates; "" of a run that did not."""
    search = manifest.identity.get("search")
    return str(search.get("reward") or "") if isinstance(search, Mapping) else ""


def trained_on_of(manifest: Manifest) -> tuple[str, ...]:
    """The metrics that a run's weights were trained on, as it says, or that it searched by; else none."""
    plain = manifest.identity.get("tuned", "") is None and "search" not in manifest.identity
    return () if plain else tuple(manifest.trained_on)


def checkpoint_of(manifest: Manifest) -> Checkpoint | None:
    """The tuned weights of a run from its manifest; None of a base model, or of pictures made elsewhere."""
    method, digest = manifest.resolved_method or {}, manifest.identity.get("tuned")
    if not digest:
        return None
    row = str(method.get("row") or manifest.method)
    methods = (manifest.resolved_suite or {}).get("methods")
    told = methods.get(row) if isinstance(methods, Mapping) else None
    rest = {key: value for key, value in manifest.identity.items() if key not in ("tuned", "loader_version")}
    recipe = hashlib.sha256(json.dumps(rest, sort_keys=True, default=str).encode()).hexdigest()[:16]
    replicates = tuple(map(str, (told or {}).get("replicates") or ()))
    of = str(method.get("replicate_of") or manifest.method)
    return Checkpoint(of, str(method.get("weights") or ""), str(digest), recipe, replicates)
