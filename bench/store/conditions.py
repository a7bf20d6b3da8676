"""Under what conditions a run's images were made: what comparable runs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.store.records import Manifest

COUPLED = "coupled"
"""The condition that says how a run's images of a prompt were coupled; runs of independent images have none."""
_KEYS = ("seed", "sampler", "resolution", "dtype", "sampling_version")


def conditions_of(manifest: Manifest) -> dict[str, Any]:
    """Of a run's identity what is a condition, and how its images were coupled where they were."""
    found = {key: manifest.identity[key] for key in _KEYS if key in manifest.identity}
    coupling = manifest.identity.get("coupling")
    return {**found, COUPLED: str(coupling.get("kind"))} if isinstance(coupling, Mapping) else found
