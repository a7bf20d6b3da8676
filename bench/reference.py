"""The reference images of set metrics, and their statistics, kept on disk between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError
from bench.files import make_folder, temporary_name, write_error
from bench.log import note

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.suite import Reference

CHUNK = 64
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def reference_identity(reference: Reference) -> dict[str, Any]:
    """What decides the reference images: the drawing's count and seed, or the files' names, sizes and times."""
    if reference.kind == "shapes":
        return {"kind": "shapes", "count": reference.count, "seed": reference.seed}
    files = _files(reference)
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    listing = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return {"kind": "folder", "files": len(files), "listing": listing}


def reference_images(reference: Reference) -> Iterator[list[Image]]:
    """The reference images in chunks of at most 64, RGB. Raises MissingError for a folder absent or empty."""
    from PIL import Image

    if reference.kind == "folder":
        files = _files(reference)
        for start in range(0, len(files), CHUNK):
            chunk = []
            for path in files[start : start + CHUNK]:
                try:
                    with Image.open(path) as opened:
                        chunk.append(opened.convert("RGB"))
                except (OSError, ValueError) as error:
                    raise MissingError(f"reference image {path} cannot be read ({error}): replace it.") from error
            yield chunk
        return
    import numpy as np

    from bench.shapes.world import random_scene, render

    rng = np.random.default_rng(reference.seed)
    for start in range(0, reference.count, CHUNK):
        count = min(CHUNK, reference.count - start)
        yield [Image.fromarray(render(random_scene(rng))) for _ in range(count)]


def reference_statistics(metric: Any, kind: type[Any], reference: Reference, cache: Path) -> Any:
    """The metric's statistics of the reference images; `kind` is their class, `cache` the folder they are kept in."""
    identity = {"metric": metric.card.digest, "reference": reference_identity(reference)}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{metric.card.name}-{name}.npz"
    if path.is_file():
        try:
            return kind.read(path)
        except Exception as error:  # damaged: made again below
            note(f"{path} is damaged ({error}): made again")
    total = None
    for images in reference_images(reference):
        part = metric.statistics(images)
        total = part if total is None else total + part
    _save(total, path)
    return total


def _save(statistics: Any, path: Path) -> None:
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        statistics.save(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _files(reference: Reference) -> list[Path]:
    folder = Path(str(reference.path)).expanduser()
    if not folder.is_dir():
        raise MissingError(f"the reference folder {folder} does not exist: correct reference.path in the suite.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if len(files) < 2:
        raise MissingError(f"the reference folder {folder} holds {len(files)} images: at least 2 are needed.")
    return files
