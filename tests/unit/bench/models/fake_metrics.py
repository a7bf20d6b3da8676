"""One quick metric of each kind, registered under names of their own; they count how often they are loaded."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

import metrics
from metrics.set.moments import Moments
from metrics.types import Card, Facts, Request

LOADED: list[str] = []
BROKEN: set[str] = set()
"""Prompts that the image metric fails on."""


class _Fake:
    version: ClassVar[str] = "1"
    undefined_reason = "needs at least 2 images"

    def __init__(self, facts: Facts, request: Request) -> None:
        self.card = Card(facts, request.label, "fake", {}, {"version": self.version}, {})

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Any:
        LOADED.append(facts.name)
        return cls(facts, request)


def pixels(image: Any) -> Any:
    return np.asarray(image, dtype=np.float64)


class Brightness(_Fake):
    def score(self, images: Any, prompts: list[str]) -> Any:
        if BROKEN.intersection(prompts):
            raise metrics.BadInputError("it is broken")
        return np.array([pixels(image).mean() for image in images], dtype=np.float32)

    def notes_for(self, prompts: list[str]) -> list[str]:
        return [f"{len(prompts)} prompts"]


class Spread(_Fake):
    def score(self, images: Any, prompt: str | None = None) -> float:
        return float(np.std([pixels(image).mean() for image in images])) if len(images) > 1 else float("nan")


class Far(_Fake):
    def statistics(self, images: Any) -> Moments:
        return Moments.of(np.stack([pixels(image).mean(axis=(0, 1)) for image in images]), "fake")

    def distance(self, a: Moments, b: Moments) -> float:
        return float(np.abs(a.mean - b.mean).sum())


class Absent(_Fake):
    @classmethod
    def load(cls, facts: Facts, request: Request) -> Any:
        raise metrics.MissingWeightsError("its weights are not there: get them")


KINDS = {"fake_image": "Brightness", "fake_group": "Spread", "fake_set": "Far", "fake_absent": "Absent"}


def install() -> None:
    """Make the fakes known to `metrics`."""
    module = ModuleType("bench_fake_metrics")
    sys.modules["bench_fake_metrics"] = module
    for name, attribute in KINDS.items():
        setattr(module, attribute, globals()[attribute])
        kind = {"fake_group": metrics.Kind.GROUP, "fake_set": metrics.Kind.SET}.get(name, metrics.Kind.IMAGE)
        facts = Facts(name=name, title=name, kind=kind, direction=metrics.Direction.HIGHER)
        metrics.register(name, f"bench_fake_metrics:{attribute}", facts)
    LOADED.clear()
    BROKEN.clear()
