"""The light types of `metrics`: facts known before loading, a request to load, and the identity card after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

LAST = 1000  # the order of metrics that say none
OFFICIAL = "@official"
"""Ends the name of a metric that is measured as the evaluation code of ImageReFL does (`metrics.official`)."""


def is_official(name: str) -> bool:
    """Whether a metric of this name is measured by the official protocol."""
    return name.endswith(OFFICIAL)


def corrected_name(name: str) -> str:
    """The metric's name without the protocol: "hpsv2.1" of "hpsv2.1@official" and of "hpsv2.1"."""
    return name.removesuffix(OFFICIAL)


class Kind(StrEnum):
    """What one value of a metric is about."""

    IMAGE = "image"  # one image and its prompt
    GROUP = "group"  # the K images of one prompt
    SET = "set"  # all images against a reference set


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"

    @property
    def arrow(self) -> str:
        """As tables show it behind a metric's name."""
        return "↑" if self is Direction.HIGHER else "↓"


def one_of(names: Iterable[str]) -> str:
    """ "one of `a`, `b`": the meaning of an option that is a choice."""
    return "one of " + ", ".join(f"`{name}`" for name in names)


def digest_of(**parts: Any) -> str:
    """sha256 (hex) of plain values under their names, independent of their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a metric without loading it.

    `low` and `high` bound the value (None: unbounded). `weights` is the published source; `sha256` the digests (or
    leading digits of them) of the published files, by which own copies of them are recognised. `packages` are the
    distributions needed beyond torch, torchvision and transformers. `options` are the settings `load` accepts.
    `weight_options` names those that are weights (a path or a hub id). `beside` are the files, as globs in the folder
    of a weights file, that are read with it when only that file is named. `megabytes` (of 2^20 bytes) is what the
    published networks take at most, where no file of `weights` tells it. `unsupported` says why a known metric cannot
    be loaded here, as a clause behind "because"; "" for all others. `order` is its place among the metrics of its kind
    where they are shown, lower first; equal ones follow by name. Metrics of one `network` that name the same weights
    share it when they are loaded together. `prompt_set` is the public prompt set whose file the option `questions` is
    where a suite does not name one. `address_options` say where a served network is, not what it is: they are no part
    of what is compared. `reference` is False for a set metric that compares with no reference set.
    """

    name: str
    title: str
    kind: Kind
    direction: Direction
    unit: str = ""
    low: float | None = None
    high: float | None = None
    version: str = "1"
    weights: str | None = None
    sha256: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    unsupported: str = ""
    weight_options: tuple[str, ...] = ()
    beside: tuple[str, ...] = ("*.json", "*.txt", "*.model", "*.gz")
    megabytes: float | None = None
    order: int = LAST
    network: str = ""
    prompt_set: str = ""
    address_options: tuple[str, ...] = ()
    reference: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        plain = asdict(self)
        plain.update(sha256=list(self.sha256), packages=list(self.packages), options=dict(self.options))
        plain.update(weight_options=list(self.weight_options), beside=list(self.beside))
        plain.update(address_options=list(self.address_options))
        plain.update(kind=self.kind.value, direction=self.direction.value)
        return plain


@dataclass(frozen=True, slots=True)
class Request:
    """How a metric shall be loaded: what `metrics.load` hands to a metric class's `load`.

    `precision` is what a card's settings say of it.
    """

    weights: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    label: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    tf32: bool = False

    @property
    def precision(self) -> dict[str, Any]:
        """The dtype, and `tf32` only where that was chosen: without it a card is what it was before the choice."""
        return {"dtype": self.dtype, **({"tf32": True} if self.tf32 else {})}


@dataclass(frozen=True, slots=True)
class Card:
    """The identity of a loaded metric: everything that decides its values, and whence it comes.

    `weights` maps file names to sha256. `revision` is the commit or release that the files were published in; None for
    other files, which the digests alone tell apart. `label` is printed behind the title when the weights are not the
    published ones. `libraries` are recorded but stay out of `digest`, as does the device: values should not change.
    """

    facts: Facts
    label: str | None
    source: str
    weights: Mapping[str, str]
    settings: Mapping[str, Any]
    libraries: Mapping[str, str]
    revision: str | None = None

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.facts.name

    @property
    def precision(self) -> dict[str, Any]:
        """Of the settings those of `Request.precision`."""
        return {key: self.settings[key] for key in ("dtype", "tf32") if key in self.settings}

    @property
    def title(self) -> str:
        """The title as printed: with the label in brackets where the weights are not the published ones."""
        return f"{self.facts.title} ({self.label})" if self.label else self.facts.title

    @property
    def digest(self) -> str:
        """sha256 (hex) of what decides the values; equal digests mean comparable scores."""
        return digest_of(
            name=self.facts.name,
            version=self.facts.version,
            unit=self.facts.unit,
            weights=dict(self.weights),
            settings=dict(self.settings),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: the facts, the label, the weights' digests and the settings."""
        facts = self.facts.to_dict()
        plain = {key: facts[key] for key in ("name", "kind", "direction", "unit", "low", "high", "version")}
        plain.update(licence=facts["licence"], citation=facts["citation"], published=facts["weights"])
        plain.update(title=self.title, label=self.label, source=self.source, revision=self.revision)
        plain.update(
            digest=self.digest, weights=dict(self.weights), settings=dict(self.settings), libraries=dict(self.libraries)
        )
        return plain
