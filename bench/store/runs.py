"""What the judging stages (summarise, report, check, compare) see of a run: rows and facts, without file names.

A `Run` is read once from a `bench.store.run_store.RunStore`. Which runs may stand in one table is decided in
`bench.analysis.comparable`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.formatting import one_line
from bench.registry.metrics import display_order
from bench.runtime.log import ONCE, get_logger
from bench.store.cards import with_reference
from bench.store.conditions import conditions_of
from bench.store.expected import with_absent
from bench.store.left_out import whole_blocks
from bench.store.outdated import REPLACED
from bench.store.pictures import broken_pictures
from bench.store.ties import Ties
from bench.store.trained import Checkpoint, checkpoint_of, searched_by, trained_on_of, tuned_of
from bench.store.values import strangers, usable
from metrics.types import Direction

if TYPE_CHECKING:
    import pandas as pd

    from bench.store.records import ScoreRow
    from bench.store.run_store import RunStore

logger = get_logger(__name__)
T = TypeVar("T")

# Column -> pandas type. `sample` is empty for group and set metrics, `prompt_id`, `prompt` and `tags` for set metrics.
COLUMNS = {
    "suite": "str",
    "method": "str",
    "run": "str",
    "metric": "str",
    "kind": "str",
    "prompt_id": "str",
    "sample": "Int64",
    "value": "float64",
    "reason": "str",
    "prompt": "str",
    "tags": "str",
}
# Parts of a run's identity that must agree wherever both runs have them; the others are what makes methods differ.
_KIND_ORDER = ("image", "group", "set")  # quality, diversity, then both at once


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is printed about a metric, taken from the identity card that was stored with its scores."""

    name: str
    title: str
    kind: str  # image | group | set
    direction: str  # higher | lower
    unit: str = ""
    version: str = ""
    label: str | None = None  # for instance "shapes": these are not the published weights
    digest: str = ""
    card: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # as stored, with its digest

    @property
    def display(self) -> str:
        """Title with its label, for instance "LPIPS (shapes)"."""
        return self.title if not self.label or f"({self.label})" in self.title else f"{self.title} ({self.label})"

    @property
    def arrow(self) -> str:
        """An arrow that points where better values are."""
        return Direction(self.direction).arrow

    @property
    def higher(self) -> bool:
        """True when higher values are better."""
        return self.direction == "higher"


def metric_order(facts: MetricFacts) -> tuple[int, int, str]:
    """Sort key: quality, diversity, then set metrics; within each by the order of their facts, then by name."""
    return _KIND_ORDER.index(facts.kind), display_order(facts.name), facts.name


def facts_from_card(name: str, card: Mapping[str, Any], label: str | None = None) -> MetricFacts:
    """Facts from a stored identity card; `label` is the suite's and stands in where the card has none."""
    digest = card.get("digest") or hashlib.sha256(json.dumps(card, sort_keys=True, default=str).encode()).hexdigest()
    return MetricFacts(
        name=name,
        title=str(card.get("title") or name),
        kind=str(getattr(card.get("kind"), "value", card.get("kind") or "image")),
        direction=str(getattr(card.get("direction"), "value", card.get("direction") or "higher")),
        unit=str(card.get("unit") or ""),
        version=str(card.get("version") or ""),
        label=card.get("label") or label,
        digest=str(digest),
        card={**card, "digest": str(digest)},
    )


@dataclass(frozen=True)
class Run:
    """A run as the judges see it. `scores` has the columns metric, prompt_id, sample, value, reason, one row a value.

    Every expected value has a row, prompts x samples of an image metric and prompts of a group metric: an absent one is
    NaN with the reason "no image" (`bench.store.expected`).

    `left_out` has, for a set metric, its values with one block of prompts left out each, in the order of the blocks.
    """

    suite: str
    method: str
    name: str  # <method>@<hash8>
    path: Path
    prompts: tuple[tuple[str, str], ...]  # (id, text) in order
    samples: int
    n_images: int
    trained_on: tuple[str, ...]
    metrics: dict[str, MetricFacts]
    scores: pd.DataFrame
    conditions: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # metric -> sentences about its values in this run
    title: str = ""  # the suite's
    store: RunStore | None = None
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # prompt id -> its tags; untagged ones are absent
    cluster: str = ""  # the name of the tag that makes prompts one cluster; "": each text is its own
    left_out: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tuned: str = ""  # the tuned weights that ran (`tuned_of`); "": none, or not on record
    searched: str = ""  # the metric by which it chose among candidates, one of `trained_on`; "": none
    given: str = ""  # the name that it was given with --name
    doubt: str = ""  # what speaks against its pictures and cannot be told on this machine
    common: bool = False  # whether only the values that all runs have are left: then the others are not missed
    differing: Mapping[str, str] = field(default_factory=dict)  # metric -> why it is not compared, and so not here
    checkpoint: Checkpoint | None = None  # None: no tuned weights act, or they are not on record
    _derived: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def prompts_digest(self) -> str:
        """Digest of prompt ids and texts, whatever their order."""
        return hashlib.sha256(json.dumps(sorted(self.prompts)).encode()).hexdigest()[:16]

    @cached_property
    def pictures(self) -> str:
        """Digest of all picture files with their prompts, equal for two runs of the very same pictures; "" unknown."""
        rows = self.store.images() if self.store is not None else []
        keys = sorted((row.prompt_id, row.sample, row.sha256) for row in rows)
        return hashlib.sha256(json.dumps(keys).encode()).hexdigest() if keys and all(k[2] for k in keys) else ""

    @cached_property
    def _by_metric(self) -> dict[str, pd.DataFrame]:
        return {str(name): rows.reset_index(drop=True) for name, rows in self.scores.groupby("metric", sort=False)}

    def rows(self, metric: str) -> pd.DataFrame:
        """The score rows of one metric, sorted by prompt and sample; empty when it was not scored."""
        return self._by_metric.get(metric, self.scores.iloc[:0])

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` works out from this very run: the first time, and then as it was, as a report asks many times."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]  # type: ignore[no-any-return]

    def only(self, metrics: Collection[str]) -> Run:
        """The run with these of its metrics alone."""
        kept = {name: facts for name, facts in self.metrics.items() if name in metrics}
        return replace(self, metrics=kept, scores=self.scores[self.scores["metric"].isin(list(kept))])

    def tidy(self) -> pd.DataFrame:
        """All values in the shape of `bench.load_results`: by metric, prompt (in the run's order) and sample."""
        order = {prompt_id: index for index, (prompt_id, _) in enumerate(self.prompts)}
        ids, metrics = self.scores["prompt_id"], {name: index for index, name in enumerate(self.metrics)}
        rows = self.scores.assign(
            suite=self.suite,
            method=self.method,
            run=self.name,
            kind=self.scores["metric"].map({name: facts.kind for name, facts in self.metrics.items()}),
            prompt=ids.map(dict(self.prompts)),
            tags=ids.map({prompt_id: ";".join(tags) for prompt_id, tags in self.tags.items()}),
            by_metric=self.scores["metric"].map(metrics),
            by_prompt=ids.map(order).fillna(len(order)),
        )
        rows = rows.sort_values(["by_metric", "by_prompt", "sample"], kind="stable", ignore_index=True)
        return rows[list(COLUMNS)].astype(COLUMNS)


def read_run(store: RunStore) -> Run:
    """Read a run for judging: its manifest, its cards and its score rows."""
    manifest = store.manifest()
    suite_facts = manifest.resolved_suite or {}
    label = suite_facts.get("label")
    metrics, frames, left_out = {}, [], {}
    ids = [str(p["id"]) for p in manifest.prompts]
    rows = store.images()
    images = cache(lambda: frozenset(row.key for row in rows))
    ties = Ties(rows, ids, manifest.samples)
    refused = store.refusals()
    broken = broken_pictures(store.path, store.name, rows)
    for name in store.score_metrics():
        card = store.score_card(name) or manifest.cards.get(name) or {}
        card = with_reference(card) if manifest.identity.get("scores") else card
        scores = _believed(store, name, card, (ids, manifest.samples, ties, broken))
        metrics[name] = facts = facts_from_card(name, {"kind": _kind(scores), **card}, label)
        scores = with_absent(scores, facts.kind, ids, manifest.samples, images, refused)
        frames.append(_score_frame(name, scores))
        left_out[name] = () if broken else whole_blocks(store, name, card, ties)
    metrics = {facts.name: facts for facts in sorted(metrics.values(), key=metric_order)}
    return Run(
        suite=manifest.suite,
        method=one_line(manifest.method),
        name=manifest.run,
        path=Path(store.path),
        prompts=tuple((str(p["id"]), str(p["text"])) for p in manifest.prompts),
        samples=manifest.samples,
        n_images=int(manifest.counts.get("images") or len(manifest.prompts) * manifest.samples),
        trained_on=trained_on_of(manifest),
        metrics=metrics,
        scores=_joined(frames),
        conditions=conditions_of(manifest),
        counts=dict(manifest.counts),
        timings=dict(manifest.timings),
        notes={name: [one_line(one) for one in sentences] for name, sentences in manifest.notes.items()},
        title=one_line(str(suite_facts.get("title") or "")),
        store=store,
        tags={str(p["id"]): tuple(map(str, p["tags"])) for p in manifest.prompts if p.get("tags")},
        cluster=str(suite_facts.get("cluster") or ""),
        given=one_line(manifest.name),
        left_out={name: values for name, values in left_out.items() if values},
        tuned=tuned_of(manifest),
        searched=searched_by(manifest),
        checkpoint=checkpoint_of(manifest),
    )


def _believed(
    store: RunStore,
    name: str,
    card: Mapping[str, Any],
    known: tuple[Sequence[str], int, Ties, frozenset[tuple[str, int]]],
) -> list[ScoreRow]:
    """The rows of a metric; those that cannot be believed are NaN with the reason, and all of it is said."""
    ids, samples, ties, broken = known
    scores, faults = usable(store.scores(name), ties, card)
    if faults:
        logger.warning(f"{store.name}: {name}: {'; '.join(faults)}", extra=ONCE)
    if foreign := strangers(scores, set(ids), samples, ties):
        where = ", ".join(f"{row.prompt_id}/{row.sample}" for row in foreign[:3])
        logger.warning(f"{store.name}: {name}: {len(foreign)} values are of no image of this run ({where})", extra=ONCE)
        scores = [row for row in scores if row not in foreign]
    if not broken:
        return scores
    prompts = {prompt_id for prompt_id, _ in broken}

    def spoiled(row: ScoreRow) -> bool:
        if row.prompt_id is None or row.sample is None:
            return row.prompt_id is None or row.prompt_id in prompts
        return (row.prompt_id, row.sample) in broken

    return [replace(row, value=math.nan, reason=REPLACED) if spoiled(row) else row for row in scores]


def _kind(scores: Sequence[ScoreRow]) -> str:
    """The kind that the rows themselves show, for scores whose card does not say it."""
    if any(row.sample is not None for row in scores):
        return "image"
    return "set" if any(row.prompt_id is None for row in scores) else "group"


def _score_frame(metric: str, scores: Sequence[ScoreRow]) -> pd.DataFrame:
    import pandas as pd

    rows = [(metric, row.prompt_id, row.sample, row.value, row.reason) for row in scores]
    frame = pd.DataFrame(rows, columns=["metric", "prompt_id", "sample", "value", "reason"])
    return tidy_types(frame).sort_values(["prompt_id", "sample"], kind="stable", ignore_index=True)


def tidy_types(frame: pd.DataFrame) -> pd.DataFrame:
    """The one set of column types of score rows: text, text, Int64 sample, float64 value, text."""
    return frame.astype({"metric": "str", "prompt_id": "str", "sample": "Int64", "value": "float64", "reason": "str"})


def _joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    if not frames:
        columns = ["metric", "prompt_id", "sample", "value", "reason"]
        return tidy_types(pd.DataFrame({column: [] for column in columns}))
    return pd.concat(frames, ignore_index=True)
