"""Images that were made elsewhere, taken as a run: `DIR/<prompt_id>/<sample>.png` becomes a run of a method NAME."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import provenance
from bench.errors import UsageError
from bench.generate import COUNTS
from bench.log import note
from bench.plan import hash8
from bench.records import ImageRow, Manifest, is_safe_name
from bench.stale import mark_stale
from bench.store import RunStore, lock_runs
from bench.suite import MethodOverride
from prompts import Prompt, digest

if TYPE_CHECKING:
    from bench.suite import Suite

Found = dict[tuple[str, int], Path]


def take_images(folder: Path, prompts: Sequence[Prompt], suite: Suite, name: str, results: Path) -> RunStore:
    """Copy the images into a run of their own (re-encoded as PNG, pixels unchanged) and return it, still to be scored.

    The run's identity is the pixels' files and the prompts, so other images under the same name are another run.
    Raises UsageError: unsafe name, no folder, no image of these prompts, or a file that is no image.
    """
    if not is_safe_name(name):
        raise UsageError(f"--name {name!r} is not usable as a folder name: use A-Z a-z 0-9 . _ -")
    found = _find(folder, prompts)
    digests = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in found.items()}
    listing = "\n".join(f"{prompt_id}/{sample} {digests[prompt_id, sample]}" for prompt_id, sample in sorted(found))
    identity: dict[str, Any] = {
        "external": hashlib.sha256(listing.encode()).hexdigest(),
        "prompts": digest(prompts),
    }
    store = RunStore.create(results, suite.name, name, hash8(identity))
    with lock_runs([store]):
        _fill(store, found, prompts, suite, name, identity)
    return store


def _find(folder: Path, prompts: Sequence[Prompt]) -> Found:
    if not folder.is_dir():
        raise UsageError(f"--images {folder} is not a folder.")
    found: Found = {}
    for prompt in prompts:
        for path in sorted((folder / prompt.id).glob("*.png")):
            if path.stem.isdigit() and str(int(path.stem)) == path.stem:
                found[prompt.id, int(path.stem)] = path
    if not found:
        raise UsageError(
            f"{folder} holds no image of these prompts: they must be named <prompt_id>/<sample>.png, "
            f"such as {prompts[0].id}/0.png."
        )
    without = [prompt.id for prompt in prompts if not any(key[0] == prompt.id for key in found)]
    if without:
        note(f"{folder}: no images for {len(without)} of {len(prompts)} prompts ({', '.join(without[:3])}, ...)")
    return found


def _fill(
    store: RunStore, found: Found, prompts: Sequence[Prompt], suite: Suite, name: str, identity: dict[str, Any]
) -> None:
    texts = {prompt.id: prompt.text for prompt in prompts}
    good, _ = store.verified_images(found)
    have = {row.key for row in good}
    known = {row.key: row.sha256 for row in store.images()}
    new = [key for key in found if key not in have]
    samples = 1 + max(sample for _, sample in found)
    if not new and store.exists() and store.manifest().complete:
        return
    said = suite.methods.get(name) or MethodOverride()
    manifest = Manifest(
        suite=suite.name,
        method=name,
        run=store.name,
        identity=identity,
        resolved_suite=suite.resolved(),
        resolved_method={
            "name": name,
            "title": name,
            "external": True,
            "trained_on_data": list(said.trained_on_data or ()),
        },
        prompts=[{"id": prompt.id, "text": prompt.text, "tags": list(prompt.tags)} for prompt in prompts],
        samples=samples,
        trained_on=list(said.trained_on or ()),
        provenance=provenance.collect(),
        counts=dict.fromkeys(COUNTS, 0),
    )
    store.write_manifest(manifest)
    rows = [_copy(store, key, found[key], texts[key[0]]) for key in new]
    mark_stale(store, rows, known)
    store.append_images(rows)
    manifest.counts["images"] = len(found)
    store.write_manifest(manifest)


def _copy(store: RunStore, key: tuple[str, int], path: Path, text: str) -> ImageRow:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{path} is no image that can be read ({error}): replace or remove it.") from error
    relative, sha256 = store.save_image(*key, picture)
    return ImageRow(key[0], text, key[1], -1, relative, sha256, 0.0)
