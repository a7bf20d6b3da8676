"""Scores without generating: finished runs again, or images from anywhere as a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.generation.external import take_images
from bench.pipeline.run import _complete, _has_all_images, _judge
from bench.runtime.devices import check_device
from bench.runtime.log import note
from bench.runtime.progress import Progress
from bench.store.run_store import RunStore, lock_runs
from bench.suite.prompts import load_prompts
from bench.suite.schema import Suite


def rescore(
    paths: Sequence[Path | str],
    *,
    metrics: Sequence[str] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[RunStore]:
    """Score finished runs without generating, each with its own suite's metrics or with those named."""
    check_device(device)
    stores = [RunStore(path) for path in paths]
    groups: dict[str, tuple[Suite, list[RunStore]]] = {}
    for store in stores:
        suite = suite_of(store).override(metrics=metrics)
        same = suite.model_dump_json(include={"metrics", "reference", "label"})
        groups.setdefault(same, (suite, []))[1].append(store)
    with lock_runs(stores):
        values = sum(_judge(group, suite, device, progress) for suite, group in groups.values())
        if metrics is None:  # all that the run's own suite asks for
            _complete([store for store in stores if _has_all_images(store)])
    if values == 0:
        note("nothing to do: all scores are there.")
    return stores


def adopt(
    images: Path | str,
    suite: Suite,
    name: str,
    *,
    results: Path | str = Path("results"),
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[RunStore]:
    """Take images from anywhere, `images`/<prompt_id>/<sample>.png, as a run of method `name`, and score them.

    The prompts are those of the suite. Raises UsageError: no such folder, no image of these prompts in it, or one that
    is no image.
    """
    check_device(device)
    chosen = load_prompts(suite.prompts)[: suite.limit]
    store = take_images(Path(images), chosen, suite, name, Path(results))
    with lock_runs([store]):
        _judge([store], suite, device, progress)
        _complete([store])
    return [store]


def suite_of(store: RunStore) -> Suite:
    """The suite that a run was made with, from its manifest."""
    return Suite.model_validate(store.manifest().resolved_suite)
