"""Runs on disk that an older version made of weights which it read otherwise: found by looking at those weights.

The identity of such a run has the digest of its weights, and they are the right ones: that the pictures are not says
only what version 1 did with weights of this kind (`bench.models.reading`). Until version 2, whole parameters beside an
adapter's factors also went into the base network, for every method of the call: runs of one call are told by the time
in their provenance. Runs that version 2 began have its number there, and need no look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.models.weights import digest, hub_name, resolve, split_pin
from bench.store.atomic import sha256_file
from bench.store.outdated import LOADER_VERSION, Doubt, why_outdated
from bench.store.records import Manifest
from bench.store.run_store import RunStore, find_runs

if TYPE_CHECKING:
    from bench.suite.schema import Suite

_reasons: dict[tuple[str, ...], str] = {}


@dataclass(frozen=True, slots=True)
class _Old:
    """A run that an older version made with a base network of diffusers."""

    store: RunStore
    manifest: Manifest

    @property
    def tuned(self) -> str | None:
        """The name of the tuned weights that ran; None if none did."""
        weights = (self.manifest.resolved_method or {}).get("weights")
        return str(weights) if weights and self.manifest.identity.get("tuned") is not None else None

    @property
    def call(self) -> tuple[Any, Any]:
        """Equal for runs whose networks were loaded together."""
        return self.manifest.provenance.get("created"), self.manifest.identity.get("model")


def doubts(stores: Sequence[RunStore]) -> dict[Path, Doubt]:
    """What speaks against the pictures of these runs, by their folders: most have nothing. Fetches no weights."""
    found = {store.path: Doubt(why) for store in stores if (why := why_outdated(store)) is not None}
    old = [one for store in stores if store.path not in found and (one := _old(store)) is not None]
    siblings = {folder: _olds(folder) for folder in {one.store.path.parent for one in old}}
    for one in old:
        company = [other for other in siblings[one.store.path.parent] if other.call == one.call]
        doubt = next(_doubts_of(one, company), None)
        if doubt is not None:
            found[one.store.path] = doubt
    return found


def _doubts_of(one: _Old, company: Sequence[_Old]) -> Iterator[Doubt]:
    """What is certain first."""
    unknown = []
    others = [other for other in company if other.store.path != one.store.path]
    for doubt in (_of_weights(one), *(_of_company(one, other) for other in others)):
        if doubt is not None and doubt.certain:
            yield doubt
        elif doubt is not None:
            unknown.append(doubt)
    yield from unknown


def _of_weights(one: _Old) -> Doubt | None:
    """How an older version read the weights of the sides that run."""
    from pydantic import ValidationError

    from bench.suite.schema import Suite

    try:
        suite = Suite.model_validate(one.manifest.resolved_suite)
    except (ValidationError, BenchError):
        return None if one.tuned is None else Doubt(_unknown("its suite cannot be read"), certain=False)
    if suite.model.endpoint is not None:  # no version read its weights otherwise
        return None
    base = local_path(suite.model.weights)
    for name, wanted in _sides(one, suite).items():
        path = local_path(name)
        if path is None:
            if name != suite.model.weights:  # base models were read as today, but for consistency models
                return Doubt(_unknown(f"its weights {name} are not on this machine"), certain=False)
        elif not _has_digest(path, wanted):
            return Doubt(_unknown(f"its weights {name} have changed since"), certain=False)
        elif why := _why(suite, name, path, base, wanted):
            return Doubt(f"made by an older version, which {why}")
    return None


def _sides(one: _Old, suite: Suite) -> dict[str, str]:
    """Weights name -> digest in the identity, of the sides that run."""
    identity = one.manifest.identity
    found = {} if one.tuned is None else {one.tuned: str(identity["tuned"]).split("*")[0].split(" ")[0]}
    if "base" in identity.get("guidance", {}):
        found[suite.model.weights] = str(identity["model"])
    return found


def _has_digest(path: Path, expected: str) -> bool:
    """Whether weights have a digest, also one of a version that did not count the lora_config.json beside a file."""
    return expected == digest(path) or (path.is_file() and expected == sha256_file(path.resolve()))


def _why(suite: Suite, name: str, path: Path, base: Path | None, wanted: str) -> str:
    from bench.models.reading import read_otherwise  # reads tensors

    key = (name, wanted, str(base), suite.model_dump_json(include={"model", "dtype", "sampler"}))
    if key not in _reasons:
        try:
            _reasons[key] = read_otherwise(suite, name, path, base)
        except BenchError as error:
            _reasons[key] = f"took weights that are refused today ({error})"
    return _reasons[key]


def _of_company(one: _Old, other: _Old) -> Doubt | None:
    """Whether another run's adapter went into the base network that this one used."""
    from bench.models.adapters.versions import adapter_file, whole_parameters  # imports torch

    if other.tuned is None or not _uses_the_base_network(one) or one.call[0] is None:
        return None
    path = local_path(other.tuned)
    if path is None:
        why = _unknown(f"the weights {other.tuned} of {other.store.name}, made with it, are not on this machine")
        return Doubt(why, certain=False)
    file = adapter_file(path)
    keys = whole_parameters(file) if file is not None else []
    if not keys:
        return None
    return Doubt(
        f"made by an older version in one call with {other.store.name}, which put {file} ({keys[0]}) into the base "
        "network"
    )


def _uses_the_base_network(one: _Old) -> bool:
    """False only for a run that a whole tuned network made alone."""
    from bench.models.adapters.versions import adapter_file

    if one.tuned is None or "base" in one.manifest.identity.get("guidance", {"base": None}):
        return True
    path = local_path(one.tuned)
    return path is None or adapter_file(path) is not None


def _unknown(what: str) -> str:
    return f"made by an older version, and {what}: whether that version read weights as this one does is not known"


def _olds(folder: Path) -> list[_Old]:
    return [one for store in find_runs(folder) if (one := _old(store)) is not None]


def _old(store: RunStore) -> _Old | None:
    """The run, if an older version made it with a network; None for all others, and for one that cannot be read."""
    try:
        manifest = store.manifest()
    except BenchError:  # damaged, or of a newer version: told where it is read
        return None
    facts: Mapping[str, Any] = manifest.identity
    versions = (facts.get("loader_version"), manifest.provenance.get("loader_version"))
    if "model" not in facts or any(isinstance(one, int) and one >= LOADER_VERSION for one in versions):
        return None
    return _Old(store, manifest)


def local_path(spec: str) -> Path | None:
    """Where weights are on this machine, without fetching any; None if they are not here."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        name = split_pin(spec)[0]
        hub = hub_name(name)
        if hub is None:
            return resolve(name)
        root = Path(snapshot_download(hub.repo, revision=hub.revision, local_files_only=True))
    except (BenchError, LocalEntryNotFoundError, HFValidationError):
        return None
    path = root / hub.inner.strip("/") if hub.inner else root
    return path if path.exists() else None
