"""The reference images of set metrics, and their statistics, kept on disk between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, UsageError
from bench.scoring.given_statistics import read_statistics, statistics_identity
from bench.scoring.reference_files import Files, content_of, files_of, is_statistics
from bench.store.atomic import atomic_write, make_folder, read_bytes, remove_damaged
from bench.store.digests import digest_in_name, sha256_of
from bench.store.leftovers import temporary_name

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from bench.scoring.chunk import Tools
    from bench.suite.schema import Reference

logger = logging.getLogger(__name__)

CHUNK = 64
Source = tuple[str, "Callable[[], Image]"]
"""A reference image: the sha256 of its file or, where it is drawn, of its pixels; and how to get it."""


def reference_identity(reference: Reference) -> dict[str, Any]:
    """What decides the reference: the drawing's count and seed, the files' names and contents, or the statistics.

    Raises MissingError for a reference that is absent, UsageError for one that cannot be used.
    """
    if reference.kind == "shapes":
        return {"kind": "shapes", "count": reference.count, "seed": reference.seed}
    if is_statistics(reference):
        return statistics_identity(reference)
    return content_of(files_of(reference))


def reference_sources(reference: Reference) -> Iterator[list[Source]]:
    """The reference images in chunks of at most 64. Raises MissingError for a folder absent or empty."""
    if reference.kind == "folder":
        files = files_of(reference)
        facts = files.facts()
        for start in range(0, len(files.names), CHUNK):
            names = files.names[start : start + CHUNK]
            yield [(_key(*facts[name]), partial(_open, files, name)) for name in names]
        return
    import numpy as np
    from PIL import Image

    from bench.shapes.world import random_scene, render

    rng = np.random.default_rng(reference.seed)
    for start in range(0, reference.count, CHUNK):
        drawn = [render(random_scene(rng)) for _ in range(min(CHUNK, reference.count - start))]
        yield [(hashlib.sha256(pixels.tobytes()).hexdigest(), partial(Image.fromarray, pixels)) for pixels in drawn]


def _key(digest: str, turned: bool) -> str:
    """What features are kept under: a file whose pixels are turned has others than its bytes had before that."""
    return hashlib.sha256(f"{digest} upright".encode()).hexdigest() if turned else digest


def _open(files: Files, name: str) -> Image:
    """A reference image, upright and in its own mode: it becomes RGB where a generated one does, in the metric."""
    from bench.store.images import decode, upright
    from metrics.errors import BadInputError
    from metrics.images import to_pil

    path = f"{files.where}/{name}"
    found = decode(files.read(name))
    if isinstance(found, str):
        raise MissingError(f"reference image {path} cannot be used ({found}): replace it")
    try:
        return to_pil([upright(found)], convert=False)[0]
    except BadInputError as error:
        raise MissingError(f"reference image {path}: {str(error).removeprefix('image 0 ')}") from None


def reference_statistics(metric: Any, kind: type[Any], reference: Reference, cache: Path, tools: Tools) -> Any:
    """The metric's statistics of the reference images; `kind` is their class, `cache` the folder they are kept in.

    Features of the images are shared with other metrics of the same network. Raises MissingError (absent) or UsageError
    (statistics of another network, or that are none).
    """
    from bench.scoring.feature_cache import features_identity

    if is_statistics(reference):
        return read_statistics(metric, kind, reference)
    identity: dict[str, Any] = {"metric": metric.card.digest, "reference": reference_identity(reference)}
    by_features = bool(getattr(metric, "by_features", False))
    if by_features:
        identity["features"] = features_identity(metric)
    else:
        identity |= {
            "device": str(getattr(metric, "device", "")).partition(":")[0],
            "libraries": dict(metric.card.libraries),
        }
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    stem = f"{metric.card.name}-{name}"
    if (kept := _kept(cache, stem, kind)) is not None:
        return kept
    total = statistics_of_images(metric, reference, tools)
    _save(total, cache, stem)
    return total


def statistics_of_images(metric: Any, reference: Reference, tools: Tools) -> Any:
    """The metric's statistics of the reference images, computed now, from their features where it has any."""
    total = None
    for sources in reference_sources(reference):
        if getattr(metric, "by_features", False):
            part = metric.statistics_of(_features(metric, sources, tools))
        else:
            part = metric.statistics([get() for _, get in sources])
        total = part if total is None else total + part
    return total


def _kept(cache: Path, stem: str, kind: type[Any]) -> Any:
    """The statistics that lie in the cache under this name and a digest; None where none can be used."""
    for path in sorted(cache.glob(f"{stem}-*.npz")):
        try:
            content = read_bytes(path)
            if sha256_of(content) != digest_in_name(path):
                raise ValueError("its content does not have the sha256 in its name")
            return kind.read(path)
        except Exception as error:  # damaged: made again
            gone = remove_damaged(path)
            logger.warning(f"{path} is damaged ({error}); {'deleted' if gone else 'not deletable'}, recomputing it")
    return None


def _features(metric: Any, sources: Sequence[Source], tools: Tools) -> Tensor:
    """Features of reference images, float32 [N, D]: those that are kept, and the others computed."""
    import torch

    from bench.scoring.chunk import MULTIPLE
    from metrics.images import to_pil

    cached = tools.cache.features_of(metric)
    found = cached.get([sha256 for sha256, _ in sources])
    missing = [(sha256, get) for sha256, get in sources if sha256 not in found]

    def prepared(get: Callable[[], Image]) -> Tensor:
        made: Tensor = metric.prepare(to_pil([get()], convert=metric.convert_first)[0])
        return made

    if missing:
        jobs = [tools.reader.submit(prepared, get) for _, get in missing]
        rows = metric.embed_inputs([job.result() for job in jobs], MULTIPLE)
        new = {sha256: row for (sha256, _), row in zip(missing, rows, strict=True)}
        cached.put(new)
        found |= new
    return torch.stack([found[sha256] for sha256, _ in sources])


def _save(statistics: Any, cache: Path, stem: str) -> None:
    """Keep statistics under their digest. Where the cache cannot be written, they are computed again next time."""
    temporary = temporary_name(cache / f"{stem}.npz")
    try:
        make_folder(cache)
        statistics.save(temporary)
        content = read_bytes(temporary)
        atomic_write(cache / f"{stem}-{sha256_of(content)}.npz", content)
    except (UsageError, OSError) as error:
        logger.warning(f"statistics of the reference images are not cached: {error}")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
