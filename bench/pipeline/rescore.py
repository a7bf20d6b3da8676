"""Scores without generating: finished runs again, or images from anywhere as a run. `bench.score` is `score` here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import one_line
from bench.generation.external import take_images
from bench.models.old_runs import doubts
from bench.pipeline.finish import has_all_images, mark_complete, score_and_summarise
from bench.pipeline.prepare import scored_by
from bench.registry.plugins import load_plugins
from bench.runtime.devices import check_device
from bench.runtime.progress import Progress
from bench.store.pictures import broken_pictures, verifying
from bench.store.run_store import RunStore, lock_runs
from bench.store.select import RunSources, run_stores
from bench.suite.load import load_suite, suite_from
from bench.suite.prompts import load_prompts
from bench.suite.schema import Suite

logger = logging.getLogger(__name__)


def score(
    runs: RunSources | None = None,
    *,
    suite: Suite | str | Path | None = None,
    images: Path | str | None = None,
    prompts: Path | str | None = None,
    name: str | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str = "corrected",
    results: Path | str = Path("results"),
    device: str = "auto",
    verify: bool = False,
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> list[RunStore]:
    """Score runs again without generating, or take images from anywhere as a run. Does what `bench score` does.

    `runs` are run folders, stores, or names in `results`. Their metrics, with weights, options and reference, come
    from `suite` if one is given, else from the suite that each run was made with; `metrics` names some of them. With
    `images` (DIR/<prompt_id>/<sample>.png) also `prompts` and `name` are needed, and the suite says how to score.
    `protocol` "official" scores as the evaluation code of ImageReFL does, under names of their own
    ("hpsv2.1@official", docs/protocol.md); other values stay.
    `verify` reads all pictures, also those whose size, times and inode did not change since they were verified.

    Raises BenchError, one sentence each: UsageError (no such run, suite, folder or metric; no image of these prompts),
    MissingError (weights, package or device absent). The other metrics are scored all the same.

    >>> import bench
    >>> [store.name for store in bench.score("base", metrics=["lpips"], results=RESULTS)] == [BASE]
    True
    """
    load_plugins(plugins)
    check_device(device)
    chosen = suite if suite is None or isinstance(suite, Suite) else load_suite(suite)
    source = {"images": images, "suite": suite if runs is None else None, "prompts": prompts, "name": name}
    absent = [f"--{key}" for key, value in source.items() if value is None]
    _check_source(runs is not None, absent, len(source))
    with verifying(verify):
        if images is None or name is None:
            stores = run_stores(runs or (), Path(results))
            for path, doubt in doubts(stores).items():
                logger.warning(one_line(f"{path.name}{' is outdated' if doubt.certain else ''}: {doubt.why}"))
            return _rescore(stores, (chosen, metrics, protocol), device, progress)
        assert chosen is not None  # demanded by `_check_source`
        adopting = chosen.override(prompts=str(prompts), metrics=metrics)
        return _adopt(Path(images), (adopting, protocol), name, Path(results), device, progress)


def _check_source(runs: bool, absent: Sequence[str], of: int) -> None:
    if runs and len(absent) < of:
        raise UsageError("give either runs or --images (with --suite, --prompts and --name), not both")
    if not runs and len(absent) == of:
        raise UsageError("nothing to score: give runs, or --images with --suite, --prompts and --name")
    if not runs and absent:
        raise UsageError(f"--images also needs {' and '.join(absent)}")


def _rescore(
    stores: Sequence[RunStore],
    how: tuple[Suite | None, Sequence[str] | None, str],
    device: str,
    progress: Progress | None,
) -> list[RunStore]:
    """Score runs, those of equal metrics together, so that they share features and loaded models.

    `how`: by which suite (None: each its own), with which of its metrics, by which protocol.
    """
    given, metrics, protocol = how
    groups: dict[str, tuple[Suite, list[RunStore]]] = {}
    for store in stores:
        suite = (given or suite_of(store)).override(metrics=metrics)
        same = suite.model_dump_json(include={"metrics", "reference", "label"})
        groups.setdefault(same, (suite, []))[1].append(store)
    groups = {same: (scored_by(suite, protocol), group) for same, (suite, group) in groups.items()}
    with lock_runs(stores):
        for store in stores:
            broken_pictures(store.path, store.name, store.images())
        values = sum(score_and_summarise(group, suite, device, progress) for suite, group in groups.values())
        if metrics is None and given is None and protocol == "corrected":  # all that the run's own suite asks for
            mark_complete([store for store in stores if has_all_images(store)])
    if values == 0:
        logger.info("nothing to do: all scores exist")
    return list(stores)


def _adopt(
    images: Path, how: tuple[Suite, str], name: str, results: Path, device: str, progress: Progress | None
) -> list[RunStore]:
    """Take `images`/<prompt_id>/<sample>.png as a run of method `name`, and score them by a suite and a protocol."""
    suite, scoring = how[0], scored_by(*how)
    chosen = load_prompts(suite.prompts)[: suite.limit]
    store = take_images(images, chosen, suite, name, results)
    with lock_runs([store]):
        score_and_summarise([store], scoring, device, progress)
        mark_complete([store])
    return [store]


def suite_of(store: RunStore) -> Suite:
    """The suite that a run was made with, from its manifest. Raises UsageError for what this version does not know."""
    try:
        return suite_from(store.manifest().resolved_suite, "")
    except UsageError as error:
        raise UsageError(
            f"{store.path}: the suite in its manifest cannot be read ({error}): another version wrote it; name the "
            "suite with --suite"
        ) from None
