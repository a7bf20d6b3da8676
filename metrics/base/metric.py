"""What every loaded metric has: its identity card, its device, its batches."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from PIL import Image

from metrics.errors import MetricError, MissingWeightsError
from metrics.types import Card, Facts, Kind, Request
from metrics.weights.hub import commit_of
from metrics.weights.state_dict import digest_files, has_published, label_for, marked_label

Files = Mapping[str, Path] | Sequence[Path]


def make_card(
    facts: Facts, request: Request, files: Files, settings: Mapping[str, Any], source: str | None = None
) -> Card:
    """The identity card of a metric that was loaded from `files` (files or folders).

    A mapping gives each file the name under which the card has it, needed where two are named alike.
    """
    digests = digest_files(files)
    paths = list(files.values()) if isinstance(files, Mapping) else list(files)
    marks = (marked_label(item) for path in paths for item in ([path] if path.is_file() else path.glob("*")))
    label = label_for(facts, request, digests, next((mark for mark in marks if mark), None))
    libraries = {}
    for name in ("torch", "torchvision", "transformers", "pillow", *facts.packages):
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    if request.weights is None and not has_published(facts, digests):
        raise MissingWeightsError(
            f"{facts.title}: {', '.join(str(path) for path in paths[:2])} should be the published weights (sha256 "
            f"{facts.sha256[0][:12]}...) but differ: delete them and run again, or give weights of your own"
        )
    chosen = {**request.precision, **settings}
    origin = source or request.weights or facts.weights or ""
    return Card(facts, label, origin, digests, chosen, libraries, revision_of(paths, origin))


_RELEASE = re.compile(r"https://.*/(?:releases/download|raw|blob)/([^/]+)/")  # its name, or a commit


def revision_of(files: Sequence[Path], source: str) -> str | None:
    """The commit of the hub's snapshot that files lie in, or the release or commit in the address of their source."""
    commit = next((found for path in files if (found := commit_of(path))), None)
    release = _RELEASE.match(source)
    return commit or (release[1] if release else None)


def pick_device(name: str) -> torch.device:
    """A torch device that exists here; MetricError (unknown name) or MissingWeightsError (not on this machine)."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MetricError(f"device '{name}' is unknown: use cpu, cuda, cuda:0 or mps") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise MissingWeightsError(
            f"device '{name}' is not available on this machine ({count} CUDA devices): use device='cpu'"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MissingWeightsError("device 'mps' is not available on this machine: use device='cpu'")
    return device


class Metric(ABC):
    """A loaded metric. Subclasses offer `load(facts, request)`; `card` says exactly what it is."""

    kind: ClassVar[Kind]
    undefined_reason: str | None = None  # why the value can be NaN

    def __init__(self, card: Card, device: torch.device, batch_size: int = 16) -> None:
        self.card = card
        self.device = device
        self.batch_size = batch_size
        self._notes: dict[str, None] = {}

    @classmethod
    @abstractmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """Make the metric; MissingWeightsError if weights, package or device are absent or damaged."""

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.card.name

    def why_undefined(self, n: int) -> str | None:
        """Why the value of `n` images (where several make one value, else 1) can be NaN; None where it should not."""
        return self.undefined_reason

    def notes(self, n: int | None = None) -> list[str]:
        """What a reader of the value should know, as sentences; `n` is the number of images where that matters."""
        return list(self._notes)

    def _batches(self, frames: Sequence[Image.Image]) -> Iterator[Sequence[Image.Image]]:
        for start in range(0, len(frames), self.batch_size):
            yield frames[start : start + self.batch_size]
