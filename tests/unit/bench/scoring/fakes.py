"""Quick metrics over features that count what they do, and runs of a few flat pictures to score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import metrics
from bench.scoring.missing import Target, target_of
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore
from metrics.base.kinds import EmbeddingGroupMetric, FeatureMetric, ImageMetric
from metrics.networks.preprocess import to_unit
from metrics.set.kinds import FrechetMetric
from metrics.types import Card, Direction, Facts, Kind, Request

KINDS = {"seen_image": Kind.IMAGE, "seen_group": Kind.GROUP, "seen_set": Kind.SET}
REFUSED = 7
"""A level of red that `prepare` refuses, and the next one that the network fails on."""


def register() -> None:
    """Make the names known to `metrics`; they are loaded by the tests themselves."""
    for name, kind in KINDS.items():
        direction = Direction.LOWER if kind == Kind.SET else Direction.HIGHER
        metrics.register(name, "fakes:none", Facts(name=name, title=name, kind=kind, direction=direction))


class _Counting(FeatureMetric):
    """Images are seen as 2 x 2 pixels; `network` and `prep` say which of these are the same."""

    def __init__(self, name: str, network: str = "net", prep: str = "prep", libraries: str = "1") -> None:
        register()
        facts = metrics.info(name)
        card = Card(facts, None, "fake", {"file": network}, {"dtype": "float32"}, {"torch": libraries})
        super().__init__(card, torch.device("cpu"), batch_size=8)
        self.network, self.prep = network, prep
        self.counts: Counter[str] = Counter()
        self.batches: list[int] = []

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        return cls(facts.name)

    @property
    def backbone(self) -> str:
        return self.network

    @property
    def preprocessing(self) -> str:
        return self.prep

    def prepare(self, image: Any) -> Tensor:
        self.counts["prepared"] += 1
        if image.getpixel((0, 0))[0] == REFUSED:
            raise metrics.BadInputError("it is refused")
        return to_unit(image.resize((2, 2)))

    def seen(self, inputs: Tensor) -> Tensor:
        self.batches.append(len(inputs))
        if bool((inputs[:, 0, 0, 0] == (REFUSED + 1) / 255).any()):
            raise RuntimeError("the network fails\nat length")
        self.counts["encoded"] += len(inputs)
        return inputs.flatten(1)


class SeenImage(_Counting, ImageMetric):
    """Mean level, plus the length of the prompt."""

    def prepare_pixels(self, pixels: Tensor) -> Tensor:
        return pixels

    def encode_images(self, inputs: Tensor) -> Tensor:
        return self.seen(inputs)

    def encode_prompts(self, prompts: list[str]) -> tuple[Tensor, ...]:
        return (torch.tensor([[float(len(prompt))] for prompt in prompts]),)

    def compare(self, features: Tensor, texts: tuple[Tensor, ...]) -> Tensor:
        return features.mean(dim=1) + texts[0][:, 0]


class SeenGroup(_Counting, EmbeddingGroupMetric):
    def encode(self, inputs: Tensor) -> Tensor:
        return functional.normalize(self.seen(inputs) + 0.01, dim=-1)


class SeenSet(_Counting, FrechetMetric):
    @property
    def width(self) -> int:
        return 12

    def encode_images(self, inputs: Tensor) -> Tensor:
        return self.seen(inputs)


def run_of(results: Path, levels: Mapping[str, Sequence[int]], name: str = "mine", size: int = 8) -> RunStore:
    """A run whose images are noise around a level of red; a level below 10 is exact (see `REFUSED`)."""
    store = RunStore.create(results, "tiny", name, "00c0ffee")
    rows = []
    for prompt_id, group in levels.items():
        for sample, level in enumerate(group):
            noise = np.random.default_rng([level, sample]).integers(0, 60, (3, size, size))
            noise[0] = level + (noise[0] // 4 if level >= 10 else 0)
            path, sha256 = store.save_image(prompt_id, sample, noise.astype(np.uint8))
            rows.append(ImageRow(prompt_id, f"text of {prompt_id}", sample, 1, path, sha256, 0.0))
    store.append_images(rows)
    prompts = [{"id": prompt_id, "text": f"text of {prompt_id}", "tags": []} for prompt_id in levels]
    samples = max(len(group) for group in levels.values())
    store.write_manifest(Manifest("tiny", name, store.name, {}, {}, {"name": name}, prompts, samples))
    return store


def target(results: Path, levels: Mapping[str, Sequence[int]]) -> Target:
    return target_of(run_of(results, levels))


def keys(target: Target, prompt_ids: Iterable[str]) -> list[tuple[str, int]]:
    return [row.key for prompt_id in prompt_ids for row in target.images[prompt_id]]
