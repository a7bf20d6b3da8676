"""One run's folder, written by several workers at once: images and their rows without the lock of the folder.

An image appears by an exclusive link. Rows go to part files whose names carry their digests, so that each worker has
files of its own, read as one. What a worker spent is kept in `.workers/<name>.json` until whoever holds the whole
folder next adds it to the manifest (`fold`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.runtime.log import ONCE, get_logger
from bench.store.atomic import atomic_write, parse_json, place_once, png_bytes, read_bytes, to_json
from bench.store.digests import seal_holds, sealed
from bench.store.locks import working
from bench.store.parts import write_part
from bench.store.presence import WORKERS
from bench.store.records import IMAGE_COLUMNS, ImageRow, Manifest, NormRow
from bench.store.run_store import RunStore, write_norms

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

logger = get_logger(__name__)

SPENT = ("counts", "timings")
LARGEST = ("peak_memory_bytes", "peak_device_memory_bytes")
"""Timings of which the largest counts; the others are sums."""


class SharedRunStore(RunStore):
    """A run that one of several workers adds to. `worker` is its name among them, safe as a file name."""

    def __init__(self, path: Path | str, name: str | None = None, worker: str = "worker") -> None:
        super().__init__(path, name)
        self.worker = worker

    def work(self) -> AbstractContextManager[None]:
        """Be known as a worker of the run. Raises UsageError where another process is that worker."""
        return working(self.path, self.worker, f"another bench is working on {self.path}")

    def save_image(self, prompt_id: str, sample: int, pixels: np.ndarray[Any, Any] | Image | bytes) -> tuple[str, str]:
        """As `RunStore.save_image`; UsageError where the image is there and differs."""
        data = pixels if isinstance(pixels, bytes) else png_bytes(pixels)
        path = self.image_path(prompt_id, sample)
        place_once(path, data)
        self._unsynced.add(path.parent)
        return self._relative(path), hashlib.sha256(data).hexdigest()

    def append_images(self, rows: Iterable[ImageRow]) -> None:
        """As `RunStore.append_images`."""
        table = [dataclasses.asdict(row) for row in rows]
        self.flush()
        if table:
            write_part(self.path / "images", table, IMAGE_COLUMNS, owner=f"{self.name}/images")

    def append_norms(self, rows: Iterable[NormRow]) -> None:
        """As `RunStore.append_norms`."""
        write_norms(self, rows)

    def spent(self) -> dict[str, dict[str, Any]]:
        """What this worker has spent that is not in the manifest yet: {"counts": ..., "timings": ...}."""
        return _read(self._spent) or {key: {} for key in SPENT}

    def write_spent(self, spent: Mapping[str, Any]) -> None:
        """Replace what this worker has spent."""
        atomic_write(self._spent, to_json(sealed(json.loads(to_json({key: spent[key] for key in SPENT})))))

    @property
    def _spent(self) -> Path:
        return self.path / WORKERS / f"{self.worker}.json"


def fold(store: RunStore, manifest: Manifest) -> list[Path]:
    """Add to a manifest what workers spent; the files that are void once it is written. The caller holds the run."""
    files = sorted((store.path / WORKERS).glob("*.json"))
    for path in files:
        spent = _read(path)
        if spent is None:
            logger.warning(f"{path} is damaged: what that worker spent is not counted", extra=ONCE)
            continue
        for key, value in spent["counts"].items():
            manifest.counts[key] = int(manifest.counts.get(key, 0)) + int(value)
        for key, value in spent["timings"].items():
            before = float(manifest.timings.get(key) or 0.0)
            manifest.timings[key] = max(before, float(value)) if key in LARGEST else before + float(value)
    return files


def _read(path: Path) -> dict[str, dict[str, Any]] | None:
    try:
        data = parse_json(read_bytes(path), path)
    except FileNotFoundError:
        return None
    except (OSError, UsageError):
        return None
    good = seal_holds(data) and all(isinstance(data.get(key), dict) for key in SPENT)
    return {key: data[key] for key in SPENT} if good else None
