"""What trainings read: captions alone (ReFL, DRaFT), or pictures with captions (base, ImageReFL).

A batch is a function of its generator alone (images are drawn with replacement), so the position in the data is the
number of the update, and a training that goes on after a kill sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.errors import MissingError, UsageError
from bench.suite.schema import Suite

if TYPE_CHECKING:
    from PIL import Image

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
METADATA = "metadata.jsonl"
CAPTION_KEYS = ("text", "caption", "captions", "prompt", "sentences")


class TrainingData(Protocol):
    """Endless batches, each a function of the generator alone, so that a seed names the whole training."""

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        """Captions to generate for."""

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Real pictures, float32 [N, 3, H, W] in [-1, 1], with their captions."""

    def listing(self) -> str:
        """What there is to draw, as a digest: another one is another training."""


class ShapesData:
    """The embedded world: pictures drawn on the spot."""

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        """Captions of random scenes."""
        from bench.shapes.captions import random_caption
        from bench.shapes.world import random_scene

        return [random_caption(random_scene(rng), rng) for _ in range(count)]

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
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

    def __init__(self, suite: Suite) -> None:
        from bench.suite.prompts import load_prompts

        self._texts = [prompt.text for prompt in load_prompts(suite.prompts)]

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        """Prompts of the set."""
        return [self._texts[index] for index in rng.integers(len(self._texts), size=count)]

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """There are none: MissingError that says what to give."""
        raise no_pictures()

    def listing(self) -> str:
        """sha256 of the texts."""
        return _digest(self._texts)


class PictureData:
    """A list of images with captions; subclasses say how item n is read."""

    def __init__(self, captions: Sequence[Sequence[str]], resolution: int) -> None:
        self._captions = captions
        self._resolution = resolution

    def captions(self, count: int, rng: np.random.Generator) -> list[str]:
        """Captions of random images."""
        return [self._caption(int(index), rng) for index in rng.integers(len(self._captions), size=count)]

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Random images, their shorter side resized to the suite's resolution and the centre taken."""
        indices = [int(index) for index in rng.integers(len(self._captions), size=count)]
        images = torch.stack([to_picture(self.image(index), self._resolution) for index in indices])
        return images, [self._caption(index, rng) for index in indices]

    def image(self, index: int) -> Image.Image:
        """Image number `place`."""
        raise NotImplementedError

    def _caption(self, index: int, rng: np.random.Generator) -> str:
        """One of the captions of an image (COCO has five)."""
        texts = self._captions[index]
        return texts[0] if len(texts) == 1 else texts[int(rng.integers(len(texts)))]


class FolderData(PictureData):
    """A folder of images with `metadata.jsonl` ({"file_name": ..., "text": ...} a line) or NAME.txt beside NAME.png."""

    def __init__(self, folder: Path, resolution: int) -> None:
        found = _from_metadata(folder) if (folder / METADATA).is_file() else _from_text_files(folder)
        self._folder, self._paths = folder, list(found)
        super().__init__(list(found.values()), resolution)

    def image(self, index: int) -> Image.Image:
        """The file, decoded; UsageError if it is damaged."""
        from PIL import Image

        path = self._paths[index]
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise UsageError(f"{path} cannot be read as an image ({error}): repair or remove it.") from error

    def listing(self) -> str:
        """sha256 of names, sizes in bytes and captions: reading every image would take as long as training on it."""
        names = [(path.relative_to(self._folder).as_posix(), path.stat().st_size) for path in self._paths]
        return _digest([names, self._captions])


class DatasetsData(PictureData):
    """A repository of the `datasets` library (or a folder that it saved) with an image column and a caption column."""

    def __init__(self, source: str, resolution: int) -> None:
        self._rows = _open_dataset(source)
        image, text = _columns(self._rows, source)
        self._image = image
        super().__init__(_Column(self._rows, text, source), resolution)

    def image(self, index: int) -> Image.Image:
        """The row's image."""
        picture: Image.Image = self._rows[index][self._image]
        return picture.convert("RGB")

    def listing(self) -> str:
        """The library's own fingerprint of the rows."""
        return _digest([len(self._rows), str(getattr(self._rows, "_fingerprint", ""))])


class _Column(Sequence[Sequence[str]]):
    """The captions of a dataset's rows, read when asked for."""

    def __init__(self, rows: Any, name: str, source: str) -> None:
        self._rows = rows.select_columns([name])
        self._name, self._source = name, source

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Sequence[str]:
        value = self._rows[int(index)][self._name]
        texts = [value] if isinstance(value, str) else [text for text in value or () if isinstance(text, str)]
        if not any(text.strip() for text in texts):
            raise UsageError(f"{self._source}: row {index} has no caption in column '{self._name}': remove it.")
        return texts


def data_for(suite: Suite, source: str | None, needs_pictures: bool) -> TrainingData:
    """The data that a training reads: `source` if it is given, else what the suite offers.

    Raises MissingError (nothing there, or no pictures where they are needed) or UsageError (no captions).
    """
    if source is None:
        if suite.label == "shapes":
            return ShapesData()
        if needs_pictures:
            raise no_pictures()
        return PromptData(suite)
    folder = Path(source).expanduser()
    if folder.is_dir() and not _saved_by_datasets(folder):
        return FolderData(folder, suite.resolution)
    return DatasetsData(source, suite.resolution)


def no_pictures() -> MissingError:
    """The error for an objective that needs real pictures where none were given (returned, not raised)."""
    return MissingError(
        "this objective needs real pictures with captions: give --data a folder of images with metadata.jsonl or .txt "
        "files beside them, or a repository of the datasets library; refl and draft need prompts alone."
    )


def to_picture(image: Image.Image, resolution: int) -> Tensor:
    """RGB image -> float32 [3, R, R] in [-1, 1]: PIL bicubic on the shorter side, centre crop."""
    from metrics.networks.preprocess import resize_crop, to_unit

    return to_unit(resize_crop(image, resolution)) * 2.0 - 1.0


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _from_metadata(folder: Path) -> dict[Path, list[str]]:
    where, found = folder / METADATA, {}
    for number, line in enumerate(where.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = row["file_name"]
            texts = next(row[key] for key in CAPTION_KEYS if row.get(key))
        except (ValueError, TypeError, KeyError, StopIteration):
            raise UsageError(
                f'{where}: line {number} must be {{"file_name": ..., "text": ...}} with a caption in it.'
            ) from None
        if not (folder / name).is_file():
            raise UsageError(f"{where}: line {number} names {name}, which is not in {folder}.")
        found[folder / name] = [texts] if isinstance(texts, str) else [str(text) for text in texts]
    if not found:
        raise UsageError(f"{where} names no images.")
    return found


def _from_text_files(folder: Path) -> dict[Path, list[str]]:
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not images:
        raise UsageError(f"{folder} holds no images ({', '.join(IMAGE_ENDINGS)}): give --data another folder.")
    found: dict[Path, list[str]] = {}
    without = []
    for path in images:
        beside = path.with_suffix(".txt")
        texts = beside.read_text(encoding="utf-8").splitlines() if beside.is_file() else []
        texts = [text.strip() for text in texts if text.strip()]
        if texts:
            found[path] = texts
        else:
            without.append(path.name)
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        raise UsageError(
            f"{folder}: {', '.join(without[:3])}{more} have no caption: put one into a .txt file of the same name, or "
            f'write {METADATA} with a line {{"file_name": ..., "text": ...}} for each image.'
        )
    return found


def _saved_by_datasets(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file()


def _open_dataset(source: str) -> Any:
    """The training split of a repository "owner/name[:split]", or of a folder that `datasets` saved."""
    try:
        import datasets
    except ImportError:
        raise MissingError(
            f"--data {source} is no folder here, and reading a repository needs the package datasets: "
            "run `pip install datasets`."
        ) from None
    name, _, split = source.partition(":")
    try:
        if Path(name).is_dir():
            rows: Any = datasets.load_from_disk(name)
            if isinstance(rows, datasets.DatasetDict):
                rows = rows[split or ("train" if "train" in rows else next(iter(rows)))]
        else:
            rows = datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # the library fails in many ways: no network, no such repository, no such split
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise MissingError(
            f"--data {source} is neither a folder here nor a dataset that can be read ({reason})."
        ) from error
    return rows


def _columns(rows: Any, source: str) -> tuple[str, str]:
    """The image and the caption column. Raises UsageError if there is none of a kind, or no row."""
    import datasets

    images = [name for name, kind in rows.features.items() if isinstance(kind, datasets.Image)]
    texts = [name for name in CAPTION_KEYS if name in rows.features]
    if not images or not texts:
        what = "image column" if not images else f"caption column ({', '.join(CAPTION_KEYS)})"
        raise UsageError(f"--data {source} has no {what}: its columns are {', '.join(rows.features)}.")
    if len(rows) == 0:
        raise UsageError(f"--data {source} has no rows.")
    return images[0], texts[0]
