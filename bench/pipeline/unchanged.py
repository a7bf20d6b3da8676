"""Whether a run has nothing to do, told from digests alone: no row is read, and neither torch nor pandas is loaded.

A finished run is unchanged when its manifest is what the plan says, its pictures and files of rows have the digests
that its summary rests on, and every metric of the suite has all of its values under the scope that the suite asks for.
In doubt it is not, and the stages look for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import metrics
from bench.errors import BenchError
from bench.generation.recording import planned_manifest
from bench.registry.metrics import ensure_metrics
from bench.scoring.identity import Scope, scope_of
from bench.store.atomic import to_json
from bench.store.cards import same_card
from bench.store.parts import part_fault
from bench.store.pictures import pictures_tie
from bench.store.records import Manifest
from bench.store.run_store import RunStore
from bench.suite.plan import RunPlan
from bench.suite.schema import Suite


def unchanged(plans: Sequence[RunPlan], suites: tuple[Suite, Suite], stores: Sequence[RunStore]) -> bool:
    """Whether `bench run` of these plans would make nothing. The caller holds the runs.

    `suites`: the one that the runs are made by, and the one with the values that are asked for (of its protocol).
    """
    suite, scoring = suites
    if any("loader_version" in plan.identity for plan in plans):
        return False  # which runs of older versions are outdated is looked for with the pictures
    ensure_metrics()
    try:
        if not all(_is_as_planned(plan, suite, store) for plan, store in zip(plans, stores, strict=True)):
            return False
        scopes = {name: scope_of(name, spec, scoring) for name, spec in scoring.metrics.items()}
        return all(_is_scored(name, scope, stores) for name, scope in scopes.items())
    except (BenchError, metrics.MetricError):
        return False


def _is_as_planned(plan: RunPlan, suite: Suite, store: RunStore) -> bool:
    if not store.exists():
        return False
    manifest = store.manifest()
    if not manifest.complete or _text(planned_manifest(plan, suite, store)) != _text(manifest):
        return False
    summary = (store.summary() or {}) if store.has_summary_digest() else {}
    if summary.get("run") != store.name or not isinstance(summary.get("made_of"), dict):
        return False
    if summary["made_of"] != store.parts() or any(part_fault(path) for path in _parts(store, summary)):
        return False
    keys = [(str(prompt["id"]), sample) for prompt in manifest.prompts for sample in range(manifest.samples)]
    return summary.get("n_images") == len(keys) and pictures_tie(store.path, keys) == summary.get("pictures")


def _text(manifest: Manifest) -> str:
    return to_json(manifest.to_dict())


def _parts(store: RunStore, summary: dict[str, Any]) -> list[Any]:
    return [store.path / folder / name for folder, names in summary["made_of"].items() for name in names]


def _is_scored(name: str, scope: Scope, stores: Sequence[RunStore]) -> bool:
    """Whether all runs have all values of a metric, under one card and the scope that is asked for."""
    cards = [store.score_card(name) for store in stores]
    if any(card is None or card.get("scope") != scope.digest for card in cards):
        return False
    if any(not same_card(cards[0] or {}, card or {}) for card in cards[1:]):
        return False
    return all(name in (store.summary() or {}).get("whole", ()) for store in stores)
