"""What of a run a metric still has to score. Reads rows and cards only: no metric is loaded for this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import metrics
from bench.store.cards import same_card
from bench.store.clusters import clusters_of
from bench.store.outdated import is_current
from bench.store.records import ImageRow
from bench.store.run_store import RunStore
from bench.store.ties import Ties
from bench.store.values import usable

Key = tuple[str, int]


@dataclass(slots=True)
class Target:
    """One run to score: its images by prompt, in the order of the prompts."""

    store: RunStore
    texts: dict[str, str]
    images: dict[str, list[ImageRow]]
    ties: Ties
    clusters: dict[str, int] = field(default_factory=dict)  # prompt -> number, in their order, of those with images
    faults: dict[Key, str] = field(default_factory=dict)  # images that cannot be used, as far as they were read
    refused: dict[Key, str] = field(default_factory=dict)  # images that a server did not make, with its reasons

    def refusal_in(self, prompt_id: str) -> str | None:
        """Why the group of a prompt is not whole, so that it has no value; None where it is."""
        reasons = [reason for key, reason in self.refused.items() if key[0] == prompt_id]
        if not reasons:
            return None
        return f"{len(reasons)} of its {len(reasons) + len(self.images[prompt_id])} images were not made: {reasons[0]}"

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(len(rows) for rows in self.images.values())


@dataclass(slots=True)
class Missing:
    """What one metric has to do in one run; `replaces`: values of another card are there, to go when all are made."""

    images: set[Key] = field(default_factory=set)
    prompts: set[str] = field(default_factory=set)
    whole: bool = False
    replaces: bool = False

    @property
    def size(self) -> int:
        """Number of values to compute."""
        return len(self.images) + len(self.prompts) + int(self.whole)


def target_of(store: RunStore) -> Target:
    """The images of a run that its manifest covers."""
    manifest = store.manifest()
    texts = {str(prompt["id"]): str(prompt["text"]) for prompt in manifest.prompts}
    images: dict[str, list[ImageRow]] = {prompt_id: [] for prompt_id in texts}
    rows = store.images()
    for row in rows:
        if row.prompt_id in images and row.sample < manifest.samples:
            images[row.prompt_id].append(row)
    ordered = {prompt_id: sorted(rows, key=lambda row: row.sample) for prompt_id, rows in images.items() if rows}
    tags = {str(prompt["id"]): [str(tag) for tag in prompt.get("tags") or ()] for prompt in manifest.prompts}
    cluster = str((manifest.resolved_suite or {}).get("cluster") or "")
    clusters = clusters_of([(prompt_id, texts[prompt_id]) for prompt_id in ordered], tags, cluster)
    return Target(store, texts, ordered, Ties(rows, texts, manifest.samples), clusters, refused=store.refusals())


def cards_differ(targets: Sequence[Target], name: str) -> bool:
    """Whether the stored values of the runs were made under different cards, so that some have to be made again."""
    cards = [card for target in targets if (card := target.store.usable_card(name)) is not None]
    return any(not same_card(cards[0], card) for card in cards[1:])


def find_missing(target: Target, name: str, scope: str, card: Mapping[str, Any] | None = None) -> Missing:
    """What is to do; with the `card` of the loaded metric, values under another card count as not there."""
    stored = target.store.usable_card(name)
    replaces = stored is not None and stored.get("scope") != scope
    if stored is not None and card is not None and not same_card(stored, card):
        replaces = True
    rows = [] if stored is None or replaces else target.store.scores(name)
    checked, _ = usable(rows, target.ties, stored or {})
    have = {row.key for row in checked if is_current(row)}
    missing = Missing(replaces=replaces)
    kind = metrics.info(name).kind
    if kind == metrics.Kind.IMAGE:
        missing.images = {row.key for group in target.images.values() for row in group} - have
    elif kind == metrics.Kind.GROUP:
        missing.prompts = {prompt_id for prompt_id in target.images if (prompt_id, None) not in have}
    else:
        lacks = (None, None) not in have or target.store.lacks_left_out(name, stored or {})
        missing.whole = bool(target.images) and lacks
    return missing
