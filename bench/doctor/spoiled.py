"""Runs on disk that an older version may have spoiled: what it loaded into the base network for one of their company.

Until loader version 2, whole parameters beside an adapter's factors went into the base network, for every method of the
call. Runs of one call are told by the time in their provenance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.doctor.examine import Finding
from bench.errors import BenchError
from bench.models.adapters.versions import adapter_file, whole_parameters
from bench.models.weights import hub_name, resolve, split_pin
from bench.store.records import Manifest
from bench.store.run_store import RunStore, find_runs


def spoiled_runs(results: Path) -> list[Finding]:
    """One finding for each run whose base network may have been changed, and for weights that cannot be looked at."""
    return list({finding.subject: finding for finding in _findings(results)}.values())


def _findings(results: Path) -> Iterator[Finding]:
    found = [(store, manifest) for store in find_runs(results) if (manifest := _manifest(store)) is not None]
    for store, manifest in found:
        weights = (manifest.resolved_method or {}).get("weights")
        if not weights or "loader_version" in manifest.identity or manifest.identity.get("tuned") is None:
            continue
        path = _local_path(str(weights))
        file = adapter_file(path) if path is not None else None
        if path is None:
            yield Finding(store.name, f"its weights {weights} are not here: whether they spoiled its base is not known")
        elif file is not None and (keys := whole_parameters(file)):
            yield from _company(store, manifest, found, f"{file} ({keys[0]})")


def _company(
    store: RunStore, manifest: Manifest, found: list[tuple[RunStore, Manifest]], what: str
) -> Iterator[Finding]:
    """The runs that were made in one call with this one, itself included."""
    created = manifest.provenance.get("created")
    for other, its in found:
        same = its.provenance.get("created") == created and its.identity.get("model") == manifest.identity.get("model")
        if other is store or (created is not None and same):
            yield Finding(
                other.name,
                f"may be spoiled: made by an older version in one call with {store.name}, which put {what} into the "
                "base network",
                f"bench rm {other.path}  # then the `bench run` that made it",
                needed=False,
                suspect=True,
            )


def _manifest(store: RunStore) -> Manifest | None:
    try:
        return store.manifest()
    except BenchError:  # damaged, or of a newer version: told where it is read
        return None


def _local_path(spec: str) -> Path | None:
    """Where weights are on this machine, without fetching any; None if they are not here."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name = split_pin(spec)[0]
    hub = hub_name(name)
    try:
        if hub is None:
            return resolve(name)
        root = Path(snapshot_download(hub.repo, revision=hub.revision, local_files_only=True))
    except (BenchError, LocalEntryNotFoundError, HFValidationError):
        return None
    path = root / hub.inner.strip("/") if hub.inner else root
    return path if path.exists() else None
