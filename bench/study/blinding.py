"""Which pictures the runs have, and their blinded copies in the study's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UsageError
from bench.formatting import counted
from bench.runtime.progress import Progress
from bench.store.atomic import atomic_write, make_folder, sync_folder
from bench.store.images import image_size
from bench.store.runs import Run
from bench.study import pictures
from bench.study.folder import DEGRADED, StudyItem
from bench.study.lines import ASSETS
from bench.study.pictures import Pixels

if TYPE_CHECKING:
    from bench.store.records import ImageRow

Picture = tuple[str, str, str]  # how it is made, method, prompt id: what a picture's name is made from
_NOISE_KEYS = ("seed", "sampler", "sampling_version")


@dataclass(frozen=True)
class Source:
    """The images of all methods: `rows` by method, prompt id and sample; all are shown in `size` (width, height)."""

    methods: Mapping[str, Run]
    rows: Mapping[str, Mapping[tuple[str, int], ImageRow]]
    samples: int
    size: tuple[int, int]

    def complete(self, prompt_id: str) -> bool:
        """Whether every method has all images of a prompt."""
        return all((prompt_id, k) in rows for rows in self.rows.values() for k in range(self.samples))

    def pixels(self, method: str, prompt_id: str, sample: int) -> Pixels:
        """One image, uint8 [H, W, 3]."""
        row = self.rows[method][prompt_id, sample]
        return pictures.load(self.methods[method].path / row.path, row.sha256, self.size)


def sources_of(methods: Mapping[str, Run], notes: list[str]) -> Source:
    """Read which images there are and can be verified; what differs between methods and was made equal is noted."""
    rows: dict[str, dict[tuple[str, int], ImageRow]] = {}
    sizes: set[tuple[int, int]] = set()
    for name, run in methods.items():
        if run.store is None:
            raise UsageError(f"{run.name} has no folder with images: a study needs the run's folder")
        keys = itertools.product([key for key, _ in run.prompts], range(run.samples))
        good, bad = run.store.verified_images(keys)
        rows[name] = {row.key: row for row in good}
        if bad:
            first = f"{bad[0].prompt_id}/{bad[0].sample}: {bad[0].why}"
            notes.append(f"{counted(len(bad), 'image')} of {name} cannot be used, for instance {first}")
        sizes |= {size for row in good if (size := image_size(run.path / row.path)) is not None}
    if not sizes:
        raise UsageError("none of the runs has an image that can be read: repair them with the `bench run` command")
    size = min(sizes, key=lambda one: (one[0] * one[1], one))
    if len(sizes) > 1:
        notes.append(
            f"images of {len(sizes)} sizes are shown at {size[0]} x {size[1]} pixels, so that none is told by it"
        )
    conditions = [[run.conditions.get(key) for key in _NOISE_KEYS] for run in methods.values()]
    if any(one != conditions[0] for one in conditions) or conditions[0][0] is None:
        notes.append(
            "it is not on record that all methods had the same noise: pictures of one sample share the prompt only"
        )
    return Source(methods, rows, next(iter(methods.values())).samples, size)


class Copies:
    """Names and pictures of items. Names are digests of the seed and say nothing of what is shown."""

    def __init__(self, folder: Path, source: Source, seed: int, progress: Progress) -> None:
        self.folder, self.source, self.progress = folder, source, progress
        self._key = f"{seed}"
        self._made: dict[str, tuple[str, str, str, int]] = {}

    def _name(self, *parts: object) -> str:
        text = "\0".join(map(str, (self._key, *parts)))
        return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()

    def named(self, item: StudyItem) -> StudyItem:
        """The item with its id, and with its pictures' names where it has none yet."""
        key = (item.task, item.kind, item.prompt_id, item.sample, item.method_a, item.method_b)
        assets = item.asset_a, item.asset_b
        if not assets[0]:
            how = "grid" if item.task == "diversity" else "one"
            sample = -1 if item.sample is None else item.sample
            assets = (
                self._asset(how, item.method_a, item.prompt_id, sample),
                self._asset(how, item.method_b, item.prompt_id, sample),
            )
        name = f"i{self._name('item', *key, *assets)}"
        return dataclasses.replace(item, item=name, asset_a=assets[0], asset_b=assets[1])

    def _asset(self, how: str, method: str, prompt_id: str, sample: int) -> str:
        name = f"{self._name('picture', how, method, prompt_id, sample)}.png"
        self._made[name] = (how, method, prompt_id, sample)
        return name

    def checks(self, task: str, pool: Sequence[StudyItem], count: int, rng: Random) -> list[StudyItem]:
        """Items with an obvious answer: a picture against a spoiled copy of it, a set against one picture repeated."""
        if task == "diversity":
            ranked = self._most_varied(pool, rng)[:count]
        else:
            found = list({(item.method_a, item.prompt_id): item for item in pool}.values())
            ranked = [(item.method_a, item) for item in rng.sample(found, min(count, len(found)))]
        items = []
        for method, item in ranked:
            sample = -1 if item.sample is None else item.sample
            how = ("grid", "same") if task == "diversity" else ("one", "spoiled")
            made = dataclasses.replace(
                item,
                kind="check",
                method_a=method,
                method_b=DEGRADED,
                asset_a=self._asset(how[0], method, item.prompt_id, sample),
                asset_b=self._asset(how[1], method, item.prompt_id, max(sample, 0) if task != "diversity" else -1),
                check=1.0,
            )
            items.append(self.named(made))
        return items

    def _most_varied(self, pool: Sequence[StudyItem], rng: Random) -> list[tuple[str, StudyItem]]:
        """Sets of pictures, the most varied first: against a single picture repeated, their answer is plain."""
        found = {(method, item.prompt_id): item for item in pool for method in (item.method_a, item.method_b)}
        keys = rng.sample(sorted(found), min(64, len(found)))
        ranked = sorted(keys, key=lambda key: -pictures.variety(self._all(*key)))
        return [(method, found[method, prompt]) for method, prompt in ranked]

    def _all(self, method: str, prompt_id: str) -> list[Pixels]:
        most = min(self.source.samples, pictures.GRID_MOST)
        return [self.source.pixels(method, prompt_id, k) for k in range(most)]

    def _pixels(self, name: str) -> Pixels:
        how, method, prompt_id, sample = self._made[name]
        rng = self._noise(name)
        if how == "grid":
            return pictures.grid([pictures.disguised(one, rng) for one in self._all(method, prompt_id)])
        if how == "same":
            one = self.source.pixels(method, prompt_id, 0)
            most = min(self.source.samples, pictures.GRID_MOST)
            return pictures.grid([pictures.disguised(one, rng) for _ in range(most)])
        one = self.source.pixels(method, prompt_id, sample)
        return pictures.degraded(one, rng) if how == "spoiled" else pictures.disguised(one, rng)

    def _noise(self, name: str) -> np.random.Generator:
        return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{self._key}:{name}".encode()).digest()[:16]))

    def write(self, items: Sequence[StudyItem]) -> None:
        """Make the pictures of these items, all of them files of one length."""
        names = sorted({name for item in items for name in (item.asset_a, item.asset_b)})
        folder = make_folder(self.folder / ASSETS)
        self.progress.start("pictures", 2 * len(names))
        sizes = []
        for name in names:
            data = pictures.encoded(self._pixels(name))
            sizes.append(len(data))
            atomic_write(folder / name, data, sync=False)
            self.progress.advance()
        length = pictures.padded_length(sizes)
        for name in names:
            atomic_write(folder / name, pictures.padded((folder / name).read_bytes(), length), sync=False)
            self.progress.advance()
        sync_folder(folder)
        self.progress.finish()
