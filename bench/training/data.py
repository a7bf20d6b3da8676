"""What trainings read: captions alone (ReFL, DRaFT), or pictures with captions (base, ImageReFL).

A batch is a function of its generator and its number alone, so the position in the data is the number of the update,
and a training that goes on after a kill sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.errors import MissingError, UsageError
from bench.suite.schema import Suite
from bench.training.layouts import find_pictures
from bench.training.pictures import read_picture, to_picture
from bench.training.tables import Captions, columns, needs_datasets, open_rows, undecoded

if TYPE_CHECKING:
    from PIL import Image


class TrainingData(Protocol):
    """Endless batches, each a function of the generator and the batch's number, so that a seed names the training."""

    def captions(self, count: int, rng: np.random.Generator, number: int = 1) -> list[str]:
        """Captions to generate for, of batch `number` (from 1, through all updates and processes)."""

    def pictures(self, count: int, rng: np.random.Generator, number: int = 1) -> tuple[Tensor, list[str]]:
        """Real pictures of batch `number`, float32 [N, 3, H, W] in [-1, 1], with their captions."""

    def listing(self) -> str:
        """What there is to draw, as a digest: another one is another training."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How batches are drawn: the recipe's `order`, `captions` and `fit`, and the seed of the shuffled epochs."""

    order: str = "replacement"
    captions: str = "any"
    fit: str = "crop"
    seed: int = 0

    def indices(self, total: int, count: int, rng: np.random.Generator, number: int) -> list[int]:
        """`count` indices of `total` for batch `number`.

        `shuffled`: epochs in an order of their own, one after the other without a gap: every index once an epoch.
        """
        if self.order == "replacement":
            return [int(index) for index in rng.integers(total, size=count)]
        first = (number - 1) * count
        found: list[int] = []
        while len(found) < count:
            epoch, start = divmod(first + len(found), total)
            order = np.random.default_rng([self.seed, epoch]).permutation(total)
            found += [int(index) for index in order[start : start + count - len(found)]]
        return found

    def caption(self, texts: Sequence[str], rng: np.random.Generator) -> str:
        """One of the captions of a picture (COCO has five)."""
        if self.captions == "first" or len(texts) == 1:
            return texts[0]
        return texts[int(rng.integers(len(texts)))]


class ShapesData:
    """The embedded world: pictures drawn on the spot."""

    def captions(self, count: int, rng: np.random.Generator, number: int = 1) -> list[str]:
        """Captions of random scenes."""
        from bench.shapes.captions import random_caption
        from bench.shapes.world import random_scene

        return [random_caption(random_scene(rng), rng) for _ in range(count)]

    def pictures(self, count: int, rng: np.random.Generator, number: int = 1) -> tuple[Tensor, list[str]]:
        """Random scenes, rendered."""
        from bench.shapes.captions import random_caption
        from bench.shapes.world import random_scene, render

        scenes = [random_scene(rng) for _ in range(count)]
        images = torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2)
        return images.float() / 127.5 - 1.0, [random_caption(scene, rng) for scene in scenes]

    def listing(self) -> str:
        """The world has one name."""
        return "shapes"


class PromptData:
    """The suite's prompt set: captions only."""

    def __init__(self, suite: Suite, drawing: Drawing = Drawing()) -> None:
        from bench.suite.prompts import load_prompts

        self._texts = [prompt.text for prompt in load_prompts(suite.prompts, suite.prompt_column)]
        self._drawing = drawing

    def captions(self, count: int, rng: np.random.Generator, number: int = 1) -> list[str]:
        """Prompts of the set."""
        return [self._texts[index] for index in self._drawing.indices(len(self._texts), count, rng, number)]

    def pictures(self, count: int, rng: np.random.Generator, number: int = 1) -> tuple[Tensor, list[str]]:
        """There are none: MissingError that says what to give."""
        raise no_pictures()

    def listing(self) -> str:
        """sha256 of the texts."""
        return _digest(self._texts)


class PictureData:
    """A list of images with captions; subclasses say how item n is read."""

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        resolution: int,
        drawing: Drawing = Drawing(),
    ) -> None:
        self._captions = captions
        self._resolution = resolution
        self._drawing = drawing

    def captions(self, count: int, rng: np.random.Generator, number: int = 1) -> list[str]:
        """Captions of the images of a batch."""
        return [self._drawing.caption(self._captions[index], rng) for index in self._indices(count, rng, number)]

    def pictures(self, count: int, rng: np.random.Generator, number: int = 1) -> tuple[Tensor, list[str]]:
        """The images of a batch in the suite's resolution, with their captions."""
        indices = self._indices(count, rng, number)
        fit = self._drawing.fit
        images = torch.stack([to_picture(self.image(index), self._resolution, fit) for index in indices])
        return images, [self._drawing.caption(self._captions[index], rng) for index in indices]

    def image(self, index: int) -> Image.Image:
        """Image number `index`."""
        raise NotImplementedError

    def _indices(self, count: int, rng: np.random.Generator, number: int) -> list[int]:
        return self._drawing.indices(len(self._captions), count, rng, number)


class FolderData(PictureData):
    """A folder of images with their captions in a table or beside them, or the table itself (`layouts.py`)."""

    def __init__(
        self,
        source: Path,
        resolution: int,
        drawing: Drawing = Drawing(),
        column: str | None = None,
    ) -> None:
        found = find_pictures(source, column)
        self._folder, self._paths = source if source.is_dir() else source.parent, list(found)
        super().__init__(list(found.values()), resolution, drawing)

    def image(self, index: int) -> Image.Image:
        """The file, decoded; UsageError if it is damaged."""
        path = self._paths[index]
        return read_picture(path, str(path))

    def listing(self) -> str:
        """sha256 of names, sizes in bytes and captions: reading every image would take as long as training on it."""
        names = [(_name_in(path, self._folder), path.stat().st_size) for path in self._paths]
        return _digest([names, self._captions])


class DatasetsData(PictureData):
    """What the `datasets` library reads, with an image column and a caption column (`tables.py`)."""

    def __init__(
        self,
        source: str,
        resolution: int,
        drawing: Drawing = Drawing(),
        column: str | None = None,
    ) -> None:
        rows = open_rows(source)
        image, text = columns(rows, source, column)
        self._source, self._image, self._text = source, image, text
        self._fingerprint = str(getattr(rows, "_fingerprint", ""))
        self._rows = undecoded(rows, image)
        super().__init__(Captions(rows, text, source), resolution, drawing)

    def image(self, index: int) -> Image.Image:
        """The row's image."""
        file = self._rows[index][self._image] or {}
        name = f"{self._source}: the picture of row {index}"
        if file.get("bytes") is not None:
            return read_picture(bytes(file["bytes"]), name)
        if file.get("path"):
            return read_picture(Path(file["path"]), name)
        raise UsageError(f"{name} is missing: remove that row")

    def listing(self) -> str:
        """The library's own fingerprint of the rows."""
        more = [] if "." not in self._text else [self._text]
        return _digest([len(self._rows), self._fingerprint, *more])


def data_for(
    suite: Suite,
    source: str | None,
    needs_pictures: bool,
    drawing: Drawing = Drawing(),
    column: str | None = None,
) -> TrainingData:
    """The data that a training reads: `source` if it is given, else what the suite offers.

    `column` names the caption's column. Raises MissingError (nothing there, or no pictures where they are needed) or
    UsageError (no captions).
    """
    if source is None:
        if column is not None:
            raise UsageError("--caption-column requires --data")
        if suite.label == "shapes":
            return ShapesData()
        if needs_pictures:
            raise no_pictures()
        return PromptData(suite, drawing)
    path = Path(source).expanduser()
    if path.exists() and needs_datasets(path) is None:
        return FolderData(path, suite.resolution, drawing, column)
    return DatasetsData(source, suite.resolution, drawing, column)


def no_pictures() -> MissingError:
    """The error for an objective that needs real pictures where none were given (returned, not raised)."""
    return MissingError(
        "this objective needs real images with captions: pass as --data a folder of images with metadata.jsonl or .txt "
        "files beside them, or a repository of the datasets library; refl and draft need only prompts"
    )


def _name_in(path: Path, folder: Path) -> str:
    """The path below the folder, or as it is where the table names one elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
