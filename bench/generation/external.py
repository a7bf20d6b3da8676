"""Images that were made elsewhere, taken as a run: in whichever layout they lie, they become a run of a method NAME."""

from __future__ import annotations

import hashlib
import heapq
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.formatting import counted, one_line, shorten
from bench.generation.formats import Kind, check_formats, kind_of, notes_on, png_of
from bench.generation.generate import COUNTS
from bench.generation.layouts import LAYOUTS, METADATA, read_layout, samples_of
from bench.generation.picture_files import image_names, some_of
from bench.runtime import provenance
from bench.store.atomic import read_bytes
from bench.store.images import image_size
from bench.store.names import check_given, give_name
from bench.store.outdated import mark_stale
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore, lock_runs
from bench.suite.override import MethodOverride
from bench.suite.plan import hash8
from prompts import Prompt, digest

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = logging.getLogger(__name__)

Key = tuple[str, int]
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Taken:
    """The files of a run to be: what each is, how they were found, and what a reader of the values should know."""

    files: Mapping[Key, Path]
    kinds: Mapping[Key, Kind]
    facts: dict[str, Any]


def take_images(
    folder: Path,
    prompts: Sequence[Prompt] | None,
    suite: Suite,
    name: str,
    results: Path,
    *,
    layout: str | None = None,
    allow_lossy: bool = False,
) -> RunStore:
    """Copy the images into a run of their own and return it, still to be scored.

    PNG files are copied byte for byte, other formats as the PNG of their pixels; lossy ones only with `allow_lossy`.
    Images with an EXIF orientation are turned upright. `layout` says how prompts and samples are named (None: found by
    itself; `bench.generation.layouts`). Without `prompts`, each image in the folder and its subfolders stands for
    itself.

    The run's identity is the files' bytes and the prompts, so other images under the same name are another run. An
    image that cannot be decoded is part of the run and has no values. Raises UsageError: unsafe name, no folder, no
    image of these prompts, two ways to read the folder, lossy images, a link out of it, or nothing that can be read.
    """
    check_given(name)
    files, facts = _find(folder, prompts, layout)
    chosen = prompts if prompts is not None else _stand_ins(files)
    digests, kinds = _inspect(files)
    check_formats(folder, files, kinds, allow_lossy)
    _check_one_is_readable(files)
    facts["notes"] = notes_on(kinds)
    listing = "\n".join(
        f"{key[0]}/{key[1]} {digests[key]}{' turned' if kinds[key].turned else ''}" for key in sorted(files)
    )
    identity: dict[str, Any] = {
        "external": hashlib.sha256(listing.encode()).hexdigest(),
        "prompts": digest(chosen),
    }
    store = RunStore.create(results, suite.name, name, hash8(identity))
    with lock_runs([store]):
        _fill(store, _Taken(files, kinds, facts), chosen, suite, name, identity)
        give_name(store, name, results)
    return store


def _find(folder: Path, prompts: Sequence[Prompt] | None, layout: str | None) -> tuple[dict[Key, Path], dict[str, Any]]:
    """The file of each prompt and sample, and how they were found."""
    if not folder.is_dir():
        what = (
            "is a file, not a folder: unpack an archive, and name its folder" if folder.is_file() else "does not exist"
        )
        raise UsageError(f"--images {folder} {what}")
    names, hidden = image_names(folder)
    if hidden:
        logger.warning(one_line(f"{folder}: {counted(len(hidden), 'file')} of macOS skipped ({some_of(hidden)})"))
    if not names:
        raise UsageError(f"--images {folder} contains no image")
    if prompts is None:
        return {(f"image-{number:06d}", 0): folder / name for number, name in enumerate(names, 1)}, {"layout": "none"}
    twins = _lossy_twins(names)
    reading = read_layout(folder, [name for name in names if name not in twins], prompts, layout)
    if reading is None:
        raise UsageError(_nothing_found(folder, names, prompts, layout))
    named, told = samples_of(reading.files)
    found = {key: folder / name for key, name in sorted(named.items(), key=lambda item: item[0])}
    if told:
        logger.warning(f"{folder}: {told}")
    if reading.layout == "geneval" and not reading.texts:
        logger.warning(
            f"{folder}: no {METADATA}, so that its folders are matched to the prompts by their numbers alone"
        )
    first = _first_pairs(folder, named, prompts)
    logger.info(
        one_line(f"{folder}: layout '{reading.layout}', {counted(len(found), 'image')}, such as {'; '.join(first)}")
    )
    _tell_missing(folder, names, found, prompts)
    return found, {"layout": reading.layout, "first": first, **({"samples": told} if told else {})}


def _first_pairs(folder: Path, named: Mapping[Key, str], prompts: Sequence[Prompt]) -> list[str]:
    """The first three files with their prompts, in words: what a reader checks the layout by."""
    order = {prompt.id: index for index, prompt in enumerate(prompts)}
    first = heapq.nsmallest(_SHOWN, named, key=lambda key: (order[key[0]], key[1]))
    texts = {key: shorten(prompts[order[key[0]]].text) for key in first}
    return [f"{named[key]} = sample {key[1]} of {key[0]} ('{texts[key]}')" for key in first]


def _lossy_twins(names: Sequence[str]) -> set[str]:
    """Lossy files beside a lossless one of the same name: thumbnails, which are not meant."""
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(str(Path(name).with_suffix("")), []).append(name)
    several = [group for group in by_stem.values() if any(name.lower().endswith(".png") for name in group)]
    return {name for group in several for name in group if not name.lower().endswith(".png")}


def _tell_missing(folder: Path, names: Sequence[str], found: Mapping[Key, Path], prompts: Sequence[Prompt]) -> None:
    """Say which prompts have no image, and which files are of no prompt."""
    with_images = {prompt_id for prompt_id, _ in found}
    without = [prompt.id for prompt in prompts if prompt.id not in with_images]
    if without:
        logger.warning(f"{folder}: no images for {len(without)} of {len(prompts)} prompts ({some_of(without)})")
    taken = {path.relative_to(folder).as_posix() for path in found.values()}
    ignored = [name for name in names if name not in taken]
    if ignored:
        logger.warning(
            one_line(f"{folder}: {len(ignored)} files are ignored: their names are of no prompt ({some_of(ignored)})")
        )


def _nothing_found(folder: Path, names: Sequence[str], prompts: Sequence[Prompt], layout: str | None) -> str:
    """Why no image was found: the layout that was asked for, or the names."""
    seen = f"; its files are called {some_of(list(names))}"
    if layout is not None:
        return f"{folder} contains no image of these prompts in the layout '{layout}'{seen}."
    return (
        f"{folder} contains no image of these prompts: they may be named <prompt_id>/<sample>.png, such as "
        f"{prompts[0].id}/0.png, or be in one of the layouts {', '.join(LAYOUTS)}{seen}."
    )


def _stand_ins(files: Mapping[Key, Path]) -> list[Prompt]:
    """Images without prompts: each is called by its number, which stands in the place of a text."""
    return [Prompt(prompt_id, prompt_id) for prompt_id, _ in files]


def _inspect(files: Mapping[Key, Path]) -> tuple[dict[Key, str], dict[Key, Kind]]:
    """The sha256 and the kind of each file."""
    digests, kinds = {}, {}
    for key, path in files.items():
        data = _bytes_of(path)
        digests[key], kinds[key] = hashlib.sha256(data).hexdigest(), kind_of(data, path.suffix)
    return digests, kinds


def _check_one_is_readable(images: Mapping[Key, Path]) -> None:
    """A folder without a single image is a mistake; single broken files are told when they are scored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes and palettes: whether an image can be used is decided later
        if any(image_size(path) for path in images.values()):
            return
    raise UsageError(f"{next(iter(images.values()))} cannot be read as an image, nor can any other file there")


def _fill(
    store: RunStore, taken: _Taken, prompts: Sequence[Prompt], suite: Suite, name: str, identity: dict[str, Any]
) -> None:
    texts = {prompt.id: prompt.text for prompt in prompts}
    good, _ = store.verified_images(taken.files)
    have = {row.key for row in good}
    known = {row.key: row.sha256 for row in store.images()}
    new = [key for key in taken.files if key not in have]
    listed = [{"id": prompt.id, "text": prompt.text, "tags": list(prompt.tags)} for prompt in prompts]
    if not new and store.exists() and store.manifest().complete:
        _renew(store, listed)
        return
    manifest = _manifest(store, taken, suite, name, identity, listed)
    store.write_manifest(manifest)
    rows = [_copy(store, key, taken, texts[key[0]]) for key in new]
    mark_stale(store, rows, known)
    store.append_images(rows)
    manifest.counts["images"] = len(taken.files)
    store.write_manifest(manifest)


def _manifest(
    store: RunStore, taken: _Taken, suite: Suite, name: str, identity: dict[str, Any], prompts: list[dict[str, Any]]
) -> Manifest:
    said = suite.methods.get(name) or MethodOverride()
    return Manifest(
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
            "images": taken.facts,
        },
        prompts=prompts,
        samples=1 + max(sample for _, sample in taken.files),
        trained_on=list(said.trained_on or ()),
        provenance=provenance.collect(),
        counts=dict.fromkeys(COUNTS, 0),
    )


def _renew(store: RunStore, prompts: list[dict[str, Any]]) -> None:
    """Tags are no part of a run's identity: those of this call are taken."""
    manifest = store.manifest()
    if manifest.prompts != prompts:
        manifest.prompts = prompts
        store.write_manifest(manifest)
        logger.info(f"{store.name}: the tags of its prompts are those of this call now")


def _copy(store: RunStore, key: Key, taken: _Taken, text: str) -> ImageRow:
    data = png_of(_bytes_of(taken.files[key]), taken.kinds[key])
    relative, sha256 = store.save_image(*key, data)
    return ImageRow(key[0], text, key[1], -1, relative, sha256, 0.0)


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
