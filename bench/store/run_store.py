"""The folder of one run: the only module that knows the names of the files in it. `bench.store.records` has the rows.

Layout: `<results>/runs/<suite>/<method>@<hash8>/` with `manifest.json`, `images/<prompt_id>/<sample>.png`,
`images/part-*.parquet`, `scores/<metric>/{card.json,part-*.parquet}`, `summary.json` and an empty `.lock`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.formatting import is_safe_name
from bench.runtime.log import get_logger
from bench.store import manifest_files
from bench.store.atomic import (
    atomic_write,
    image_fault,
    link_or_copy,
    make_folder,
    png_bytes,
    remove_folder,
    sync_folder,
    to_json,
)
from bench.store.digests import beside, read_protected, write_protected
from bench.store.locks import locking
from bench.store.object_store import refuse_store
from bench.store.parts import read_parts, write_part
from bench.store.pictures import picture_faults
from bench.store.records import (
    IMAGE_COLUMNS,
    NEVER_MADE,
    NORM_COLUMNS,
    SUMMARY_MIGRATIONS,
    BadImage,
    ImageRow,
    Manifest,
    NormRow,
    last_wins,
    migrate,
)
from bench.store.refusals import read_refusals
from bench.store.score_files import ScoreFiles, check_name

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

logger = get_logger(__name__)

__all__ = ["RunStore", "atomic_write", "find_runs", "lock_runs"]


class RunStore(ScoreFiles):
    """One run's folder. Every write is atomic; a killed writer leaves nothing that a reader could mistake.

    Every write holds the run's lock (see `lock`), taken by the caller for a whole stage, or else for that write alone.
    """

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    @classmethod
    def create(cls, results: Path, suite: str, method: str, hash8: str) -> RunStore:
        """The store `<results>/runs/<suite>/<method>@<hash8>`, its folder made. Raises UsageError when refused."""
        refuse_store(results)
        for name in (suite, method):
            check_name(name)
        store = cls(Path(results) / "runs" / suite / f"{method}@{hash8}")
        make_folder(store.path)
        return store

    @property
    def suite(self) -> str:
        """The suite's name."""
        return self.path.absolute().parent.name

    def exists(self) -> bool:
        """Whether a run was begun here, that is, has a manifest."""
        return (self.path / manifest_files.NAME).is_file()

    # --- manifest and summary

    def manifest(self) -> Manifest:
        """The manifest. Raises UsageError: no run here, damaged, of another run, or written by a newer version."""
        return manifest_files.read_manifest(self.path, self.name)

    @locking
    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest. Write status "complete" after everything else."""
        self.flush()
        manifest_files.write_manifest(self.path, manifest)

    @locking
    def write_counts(self, manifest: Manifest) -> None:
        """Write the counts and timings of a manifest of which nothing else changed since it was written."""
        self.flush()
        manifest_files.write_counts(self.path, manifest)

    def summary(self) -> dict[str, Any] | None:
        """The summary (a null in it is a NaN), None when there is none yet. Raises UsageError for a damaged one."""
        path = self.path / "summary.json"
        data = read_protected(path)
        return None if data is None else migrate(data, SUMMARY_MIGRATIONS, str(path))

    def has_summary_digest(self) -> bool:
        """Whether the digest of the summary is there, so that its content can be verified."""
        return beside(self.path / "summary.json").is_file()

    @locking
    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the summary; NaN is written as null."""
        write_protected(self.path / "summary.json", to_json(summary))

    def refusals(self) -> dict[tuple[str, int], str]:
        """(prompt id, sample) of images that a server refused to make -> its reason."""
        return read_refusals(self.path)

    # --- images

    def image_path(self, prompt_id: str, sample: int) -> Path:
        """Where the image of a prompt and sample lies. Raises UsageError for an id that is unsafe as a file name."""
        check_name(prompt_id)
        return self.path / "images" / prompt_id / f"{int(sample)}.png"

    @locking
    def save_image(self, prompt_id: str, sample: int, pixels: np.ndarray[Any, Any] | Image | bytes) -> tuple[str, str]:
        """Write one image losslessly; returns (path relative to the run, sha256 of the file).

        `pixels` is uint8 [3, H, W] (an array, or a CPU tensor of that shape), a PIL image, or a file's own bytes.
        """
        data = pixels if isinstance(pixels, bytes) else png_bytes(pixels)
        path = self.image_path(prompt_id, sample)
        atomic_write(path, data, sync=False)
        self._unsynced.add(path.parent)
        return self._relative(path), hashlib.sha256(data).hexdigest()

    @locking
    def adopt_image(self, other: RunStore, row: ImageRow) -> ImageRow | None:
        """Take over an image of another run with the same pixels (hard link, or copy); None if it is damaged there."""
        source = other.path / row.path
        if image_fault(source, row.sha256) is not None:
            return None
        path = self.image_path(row.prompt_id, row.sample)
        link_or_copy(source, path)
        self._unsynced.add(path.parent)
        return dataclasses.replace(row, path=self._relative(path))

    @locking
    def append_images(self, rows: Iterable[ImageRow]) -> None:
        """Record images that were saved; they become part of the run with this. No rows, no file."""
        table = [dataclasses.asdict(row) for row in rows]
        self.flush()
        if table:
            write_part(self.path / "images", table, IMAGE_COLUMNS, owner=f"{self.name}/images")

    def images(self) -> list[ImageRow]:
        """The recorded images, one row per (prompt_id, sample), in the order of their first record; the last wins."""
        content = read_parts(self.path / "images", IMAGE_COLUMNS, owner=f"{self.name}/images")
        rows = last_wins(ImageRow(**row) for row in content.rows)
        known = [
            row for row in rows if is_safe_name(row.prompt_id) and row.path == _image_name(row.prompt_id, row.sample)
        ]
        if len(known) < len(rows):
            logger.warning(f"{self.path}: {len(rows) - len(known)} images are recorded under foreign names: ignored")
        return known

    @locking
    def append_norms(self, rows: Iterable[NormRow]) -> None:
        """Record ratios of norms of predictions. No rows, no file."""
        write_norms(self, rows)

    def norms(self) -> list[NormRow]:
        """The recorded ratios, one row per image and step; the last wins."""
        content = read_parts(self.path / "norms", NORM_COLUMNS, owner=f"{self.name}/norms")
        rows = [NormRow(**row) for row in content.rows]
        return list({(row.prompt_id, row.sample, row.step): row for row in rows}.values())

    def verified_images(self, keys: Iterable[tuple[str, int]]) -> tuple[list[ImageRow], list[BadImage]]:
        """Of the wanted (prompt_id, sample), those that are there as recorded, and the others with the reason."""
        wanted, recorded = list(keys), {row.key: row for row in self.images()}
        faults = picture_faults(self.path, [recorded[key] for key in wanted if key in recorded])
        good: list[ImageRow] = []
        bad: list[BadImage] = []
        for prompt_id, sample in wanted:
            row = recorded.get((prompt_id, sample))
            if row is None:
                there = self.image_path(prompt_id, sample).exists()
                why = "of an interrupted run, or foreign (nothing records it)" if there else NEVER_MADE
                bad.append(BadImage(prompt_id, sample, why))
            elif row.key in faults:
                bad.append(BadImage(prompt_id, sample, faults[row.key]))
            else:
                good.append(row)
        return good, bad

    def flush(self) -> None:
        """Make the images saved so far durable."""
        while self._unsynced:
            sync_folder(self._unsynced.pop())

    def remove(self) -> None:
        """Remove the run with all that is in its folder, at once for whoever looks."""
        with self.lock(clean=False):
            remove_folder(self.path)


def write_norms(store: RunStore, rows: Iterable[NormRow]) -> None:
    """Write a part file of ratios into a run."""
    if table := [dataclasses.asdict(row) for row in rows]:
        write_part(store.path / "norms", table, NORM_COLUMNS, owner=f"{store.name}/norms")


@contextlib.contextmanager
def lock_runs(stores: Iterable[RunStore]) -> Iterator[None]:
    """Hold several runs, always in the same order, so that two processes never wait for each other."""
    with contextlib.ExitStack() as stack:
        for store in sorted(stores, key=lambda store: str(store.path.absolute())):
            stack.enter_context(store.lock())
        yield


def find_runs(results: Path | str, suite: str | None = None) -> list[RunStore]:
    """The runs (complete or not) under a results folder, a suite's folder in it, or a run's own, sorted by name.

    With `suite`, only the runs of that suite. Nothing there gives an empty list.
    """
    refuse_store(results)
    root = Path(results)
    if (root / "manifest.json").is_file():
        found = [root / "manifest.json"]
    elif (root / "runs").is_dir():
        found = list(root.glob("runs/*/[!.]*@*/manifest.json"))
    else:
        found = [*root.glob("[!.]*@*/manifest.json"), *root.glob("*/[!.]*@*/manifest.json")]
    stores = [RunStore(path.parent) for path in found]
    return sorted(
        (store for store in stores if suite is None or store.suite == suite),
        key=lambda store: (str(store.path.parent), store.name),
    )


def _image_name(prompt_id: str, sample: int) -> str:
    return f"images/{prompt_id}/{sample}.png"
