"""Images that were made elsewhere, taken as a run: `DIR/<prompt_id>/<sample>.png` becomes a run of a method NAME."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.generation.generate import COUNTS
from bench.runtime import provenance
from bench.store.atomic import read_bytes
from bench.store.images import image_size
from bench.store.outdated import mark_stale
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore, lock_runs
from bench.suite.plan import hash8
from bench.suite.schema import MethodOverride
from prompts import Prompt, digest

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

Found = dict[tuple[str, int], Path]
_DIGITS = 5
_NUMBER = re.compile("0|[1-9][0-9]*")
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def take_images(folder: Path, prompts: Sequence[Prompt], suite: Suite, name: str, results: Path) -> RunStore:
    """Copy the images, byte for byte, into a run of their own and return it, still to be scored.

    The run's identity is the files' bytes and the prompts, so other images under the same name are another run. An
    image that cannot be decoded is part of the run and has no values. Raises UsageError: unsafe name, no folder, no
    image of these prompts, or not one that can be read.
    """
    if not is_safe_name(name):
        raise UsageError(f"--name {name!r} cannot be a folder name: use A-Z a-z 0-9 . _ -")
    found = _find(folder, prompts)
    _check_one_is_readable(found)
    digests = {key: hashlib.sha256(_bytes_of(path)).hexdigest() for key, path in found.items()}
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
        raise UsageError(f"--images {folder} is not a folder")
    found: Found = {}
    for prompt in prompts:
        for path in sorted((folder / prompt.id).glob("*.png")):
            if _NUMBER.fullmatch(path.stem) is None:
                continue
            if len(path.stem) > _DIGITS:
                raise UsageError(f"{path}: a sample's number must be below {10**_DIGITS:,}: rename the file")
            if not path.is_file():
                what = "a folder" if path.is_dir() else "not a regular file"
                raise UsageError(f"{path} is {what}, but an image is expected under that name: remove or rename it")
            found[prompt.id, int(path.stem)] = path
    if not found:
        raise UsageError(_nothing_found(folder, prompts))
    without = [prompt.id for prompt in prompts if not any(key[0] == prompt.id for key in found)]
    if without:
        logger.warning(f"{folder}: no images for {len(without)} of {len(prompts)} prompts ({_some(without)})")
    ignored = sorted(path.relative_to(folder).as_posix() for path in set(_pictures(folder)) - set(found.values()))
    if ignored:
        logger.warning(
            f"{folder}: {len(ignored)} files are ignored: they are not named <prompt_id>/<sample>.png after one of the "
            f"prompts ({_some(ignored)})"
        )
    return found


def _nothing_found(folder: Path, prompts: Sequence[Prompt]) -> str:
    """Why no image was found: the names, or a format that is not taken."""
    named = f"<prompt_id>/<sample>.png, such as {prompts[0].id}/0.png"
    ids = {prompt.id for prompt in prompts}
    others = [path for path in _pictures(folder) if path.parent.name in ids and path.stem.isdigit()]
    if not others:
        return f"{folder} contains no image of these prompts: they must be named {named}."
    endings = ", ".join(sorted({path.suffix for path in others}))
    return (
        f"{folder} contains {len(others)} images of these prompts as {endings}, but only .png is read, because it "
        f"is lossless: save them as {named}, from the generator's output if possible (JPEG artefacts change scores)."
    )


def _pictures(folder: Path) -> Iterator[Path]:
    """The files that look like images to a user, two levels deep."""
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        if path.suffix.lower() in _ENDINGS and path.is_file():
            yield path


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _check_one_is_readable(images: Found) -> None:
    """A folder without a single image is a mistake; single broken files are told when they are scored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes and palettes: whether an image can be used is decided later
        if any(image_size(path) for path in images.values()):
            return
    raise UsageError(f"{next(iter(images.values()))} cannot be read as an image, nor can any other file there")


def _fill(
    store: RunStore, images: Found, prompts: Sequence[Prompt], suite: Suite, name: str, identity: dict[str, Any]
) -> None:
    texts = {prompt.id: prompt.text for prompt in prompts}
    good, _ = store.verified_images(images)
    have = {row.key for row in good}
    known = {row.key: row.sha256 for row in store.images()}
    new = [key for key in images if key not in have]
    samples = 1 + max(sample for _, sample in images)
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
    rows = [_copy(store, key, images[key], texts[key[0]]) for key in new]
    mark_stale(store, rows, known)
    store.append_images(rows)
    manifest.counts["images"] = len(images)
    store.write_manifest(manifest)


def _copy(store: RunStore, key: tuple[str, int], path: Path, text: str) -> ImageRow:
    relative, sha256 = store.save_image(*key, _bytes_of(path))
    return ImageRow(key[0], text, key[1], -1, relative, sha256, 0.0)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
