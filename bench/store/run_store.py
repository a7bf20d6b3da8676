"""The folder of one run: the only module that knows the names of the files in it. `bench.store.records` has the rows.

Layout: `<results>/runs/<suite>/<method>@<hash8>/` with `manifest.json`, `images/<prompt_id>/<sample>.png`,
`images/part-*.parquet`, `scores/<metric>/{card.json,part-*.parquet}`, `summary.json` and an empty `.lock`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.formatting import is_safe_name
from bench.store.atomic import (
    atomic_write,
    image_fault,
    link_or_copy,
    make_folder,
    part_files,
    png_bytes,
    read_json,
    read_parts,
    remove_folder,
    sync_folder,
    to_json,
    write_part,
)
from bench.store.cards import same_card
from bench.store.locks import locked, locking
from bench.store.records import (
    IMAGE_COLUMNS,
    LEFT_OUT,
    NEVER_MADE,
    PART,
    SCORE_COLUMNS,
    SUMMARY_MIGRATIONS,
    BadImage,
    ImageRow,
    Manifest,
    ScoreRow,
    last_wins,
    migrate,
)

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

logger = logging.getLogger(__name__)

__all__ = ["RunStore", "atomic_write", "find_runs", "lock_runs"]


class RunStore:
    """One run's folder. Every write is atomic; a killed writer leaves nothing that a reader could mistake.

    Every write holds the run's lock (see `lock`), taken by the caller for a whole stage, or else for that write alone.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._unsynced: set[Path] = set()

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    @classmethod
    def create(cls, results: Path, suite: str, method: str, hash8: str) -> RunStore:
        """The store `<results>/runs/<suite>/<method>@<hash8>`, its folder made. Raises UsageError when refused."""
        for name in (suite, method):
            _check_name(name)
        store = cls(Path(results) / "runs" / suite / f"{method}@{hash8}")
        make_folder(store.path)
        return store

    @property
    def name(self) -> str:
        """`<method>@<hash8>`."""
        return self.path.absolute().name

    @property
    def suite(self) -> str:
        """The suite's name."""
        return self.path.absolute().parent.name

    def exists(self) -> bool:
        """Whether a run was begun here, that is, has a manifest."""
        return self._manifest_path.is_file()

    # --- manifest and summary

    @property
    def _manifest_path(self) -> Path:
        return self.path / "manifest.json"

    def manifest(self) -> Manifest:
        """The manifest. Raises UsageError: no run here, damaged, or written by a newer version."""
        if (data := read_json(self._manifest_path)) is None:
            raise UsageError(f"{self.path} is not a run: it has no manifest.json")
        return Manifest.from_dict(data, str(self._manifest_path))

    @locking
    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest. Write status "complete" after everything else."""
        self.flush()
        atomic_write(self._manifest_path, to_json(manifest.to_dict()))

    def summary(self) -> dict[str, Any] | None:
        """The summary (a null in it is a NaN), None when there is none yet."""
        path = self.path / "summary.json"
        data = read_json(path)
        return None if data is None else migrate(data, SUMMARY_MIGRATIONS, str(path))

    @locking
    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the summary; NaN is written as null."""
        atomic_write(self.path / "summary.json", to_json(summary))

    # --- images

    def image_path(self, prompt_id: str, sample: int) -> Path:
        """Where the image of a prompt and sample lies. Raises UsageError for an id that is unsafe as a file name."""
        _check_name(prompt_id)
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
            write_part(self.path / "images", table, IMAGE_COLUMNS)

    def images(self) -> list[ImageRow]:
        """The recorded images, one row per (prompt_id, sample), in the order of their first record; the last wins."""
        return last_wins(ImageRow(**row) for row in read_parts(self.path / "images", IMAGE_COLUMNS))

    def verified_images(self, keys: Iterable[tuple[str, int]]) -> tuple[list[ImageRow], list[BadImage]]:
        """Of the wanted (prompt_id, sample), those that are there as recorded, and the others with the reason."""
        recorded = {row.key: row for row in self.images()}
        good: list[ImageRow] = []
        bad: list[BadImage] = []
        for prompt_id, sample in keys:
            row = recorded.get((prompt_id, sample))
            path = self.image_path(prompt_id, sample)
            if row is None:
                why = "of an interrupted run, or foreign (nothing records it)" if path.exists() else NEVER_MADE
                bad.append(BadImage(prompt_id, sample, why))
                continue
            fault = image_fault(path, row.sha256) if self.path / row.path == path else "recorded under another name"
            if fault is None:
                good.append(row)
            else:
                bad.append(BadImage(prompt_id, sample, fault))
        return good, bad

    def flush(self) -> None:
        """Make the images saved so far durable."""
        while self._unsynced:
            sync_folder(self._unsynced.pop())

    # --- scores

    @locking
    def append_scores(self, metric: str, rows: Iterable[ScoreRow], card: Mapping[str, Any]) -> None:
        """Record values of a metric; those recorded under another card (version, weights, settings) are dropped first.

        Cards are told apart by their `digest`, and by `scope`, a key that the scoring stage may add to say what the
        values of a group or set metric cover (such as the number of samples).
        """
        folder = self._scores(metric)
        old = read_json(folder / "card.json")
        if old is not None and not same_card(old, card):
            logger.warning(
                f"{self.name}: the {metric} scores were computed differently (version, weights or scope) and are "
                "replaced"
            )
            self.drop_scores(metric)
            old = None
        if old is None:
            atomic_write(folder / "card.json", to_json(card))
        given = list(rows)
        # First what was left out: the row of the whole set says that all of it is there.
        for prefix, chosen in ((LEFT_OUT, True), (PART, False)):
            table = [dataclasses.asdict(row) for row in given if row.left_out is chosen]
            if table:
                write_part(folder, table, SCORE_COLUMNS, prefix)

    def scores(self, metric: str) -> list[ScoreRow]:
        """The values of a metric, one row per (prompt_id, sample); the last recorded wins."""
        return [row for row in self._score_rows(metric, PART) if not row.left_out]

    def left_out_scores(self, metric: str) -> list[ScoreRow]:
        """Of a set metric, the values with one block of prompts left out each: `sample` is the block's index.

        They lie in `left_out-*.parquet` beside the values; version 1 wrote them among the values.
        """
        rows = [*self._score_rows(metric, PART), *self._score_rows(metric, LEFT_OUT)]
        return last_wins(row for row in rows if row.left_out)

    def _score_rows(self, metric: str, prefix: str) -> list[ScoreRow]:
        return last_wins(ScoreRow(**row) for row in read_parts(self._scores(metric), SCORE_COLUMNS, prefix))

    def score_metrics(self) -> list[str]:
        """Names of the metrics that have values, sorted."""
        folders = (self.path / "scores").glob("[!.]*")
        return sorted(folder.name for folder in folders if folder.is_dir() and part_files(folder))

    def score_card(self, metric: str) -> dict[str, Any] | None:
        """The identity card that the stored values of a metric were made under, None without values."""
        return read_json(self._scores(metric) / "card.json")

    @locking
    def drop_scores(self, metric: str) -> None:
        """Forget all values of a metric, at once."""
        remove_folder(self._scores(metric))

    def _scores(self, metric: str) -> Path:
        _check_name(metric)
        return self.path / "scores" / metric

    # --- more

    def lock(self, *, clean: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold the run for writing: one process at a time, others wait and say so. Cleans what a killed run left.

        Entering it again in the same process is allowed. To hold several runs, use `lock_runs`.
        """
        return locked(self.path, f"another bench is working on {self.path}", clean=clean)

    def remove(self) -> None:
        """Remove the run with all that is in its folder, at once for whoever looks."""
        with self.lock(clean=False):
            remove_folder(self.path)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


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


def _check_name(name: str) -> None:
    if not is_safe_name(name):
        raise UsageError(f"{name!r} is not safe as a file name: use 1 to 100 of A-Z a-z 0-9 . _ -, without '..'")
