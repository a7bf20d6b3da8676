"""Scores without generating: finished runs again, or images from anywhere as a run. `bench.score` is `score` here."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.engines.choose import chosen_engine
from bench.engines.engine import Engine
from bench.engines.options import EngineOptions
from bench.errors import BenchError, UsageError
from bench.formatting import one_line
from bench.generation.external import take_images
from bench.generation.shares import at_work
from bench.models.old_runs import doubts
from bench.pipeline.finish import completing, has_all_images, mark_complete, score_and_summarise
from bench.pipeline.prepare import scored_by
from bench.pipeline.shard import check_share, finish_if_last, workers_of
from bench.registry.plugins import load_plugins
from bench.runtime.devices import check_device
from bench.runtime.progress import Progress
from bench.runtime.share import Share, read_share
from bench.scoring.shares import left_in_pieces, score_share
from bench.store.on_object_stores import on_object_stores
from bench.store.pictures import broken_pictures, verifying
from bench.store.run_store import RunStore, lock_runs
from bench.store.select import RunSources, run_stores
from bench.suite.load import load_suite, suite_from
from bench.suite.prompts import load_prompts
from bench.suite.schema import Suite, check_metrics

logger = logging.getLogger(__name__)


@on_object_stores(writes=True, pictures=True)
def score(
    runs: RunSources | None = None,
    *,
    suite: Suite | str | Path | None = None,
    images: Path | str | None = None,
    prompts: Path | str | None = None,
    prompt_column: str | None = None,
    name: str | None = None,
    layout: str | None = None,
    allow_lossy: bool = False,
    reference: Path | str | None = None,
    reference_network: str | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str = "corrected",
    results: Path | str = Path("results"),
    device: str = "auto",
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float | None = None,
    shard: str | None = None,
    verify: bool = False,
    plugins: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> list[RunStore]:
    """Score runs again without generating, or take images from anywhere as a run. Does what `bench score` does.

    `runs` are run folders, stores, or names in `results`. Their metrics, with weights, options and reference, come
    from `suite` if one is given, else from the suite that each run was made with; `metrics` names some of them.

    With `images`, a folder in one of the layouts of `bench.generation.layouts` (`layout`; None: found by itself), also
    `suite`, `prompts` and `name` are needed, and the suite says how to score. Lossy files (JPEG, WebP, AVIF) are taken
    with `allow_lossy`. `reference` are the images or statistics (`reference_network` states whose, where an .npz does
    not) that set metrics compare with, in place of the suite's. Without `prompts`, only set metrics can be scored, of
    all images in the folder: then `metrics` and a reference are needed, and suite and name have defaults.
    `protocol` "official" scores as the evaluation code of ImageReFL does, under names of their own
    ("hpsv2.1@official", docs/protocol.md); other values stay.
    `engine`, `workers`, `address`, `gpus_per_worker` and `shard` are as of `bench.run`.
    `verify` reads all pictures, also those whose size, times and inode did not change since they were verified.

    Raises BenchError, one sentence each: UsageError (no such run, suite, folder or metric; no image of these prompts),
    MissingError (weights, package or device absent). The other metrics are scored all the same.

    >>> import bench
    >>> [store.name for store in bench.score("base", metrics=["lpips"], results=RESULTS)] == [BASE]
    True
    """
    load_plugins(plugins)
    check_device(device, here=engine != "ray")
    options = EngineOptions(engine, workers, address, gpus_per_worker)
    options.check()
    share = None if shard is None else read_share(shard)
    if share is not None:
        check_share(options, "missing", None)
        if images is not None:
            raise UsageError("--shard scores runs: take the images first, without --shard (bench score --images ...)")
    given = {"layout": layout, "prompt-column": prompt_column, "allow-lossy": allow_lossy or None}
    table = _reference(reference, reference_network)
    if runs is None and images is not None and prompts is None and (reference is not None or metrics is not None):
        suite, name = _without_prompts(suite, Path(images), name, metrics)
        given.pop("allow-lossy")
        _check_no(given, "without --prompts")
    else:
        source = {"images": images, "suite": suite if runs is None else None, "prompts": prompts, "name": name}
        absent = [f"--{key}" for key, value in source.items() if value is None]
        _check_source(runs is not None, absent, len(source))
    chosen = suite if suite is None or isinstance(suite, Suite) else load_suite(suite)
    with verifying(verify):
        if images is None or name is None:
            _check_no(given, "without --images")
            stores = run_stores(runs or (), Path(results))
            _check_pictures(stores)
            for path, doubt in doubts(stores).items():
                logger.warning(one_line(f"{path.name}{' is outdated' if doubt.certain else ''}: {doubt.why}"))
            how = _How(chosen, metrics, table, protocol, device, progress)
            return _rescore(stores, how, options) if share is None else _rescore_share(stores, how, share)
        assert chosen is not None  # demanded by `_check_source`
        taken = None if prompts is None else str(prompts)
        adopting = chosen.override(prompts=taken, prompt_column=prompt_column, metrics=metrics, reference=table)
        _check_reference(adopting, prompts is not None)
        listed = None if prompts is None else load_prompts(adopting.prompts, adopting.prompt_column)[: adopting.limit]
        files: dict[str, Any] = {"layout": layout, "allow_lossy": allow_lossy}
        take = partial(take_images, Path(images), listed, adopting, name, Path(results), **files)
        with chosen_engine(options) as work:
            return _adopt(take, scored_by(adopting, protocol), device, progress, work)


def _check_pictures(stores: Sequence[RunStore]) -> None:
    """UsageError for a run whose values were given: there are no pictures to score."""
    for store in stores:
        if store.exists() and store.manifest().identity.get("scores"):
            raise UsageError(f"{store.name} has no images, as its scores were imported: import them again")


def _reference(path: Path | str | None, network: str | None) -> dict[str, str] | None:
    """The table [reference] of a suite for a path that is given with a call."""
    if path is None:
        if network is not None:
            raise UsageError("--reference-network applies only to --reference FILE.npz")
        return None
    table = {"kind": "folder", "path": str(path)}
    return table if network is None else {**table, "network": network}


def _without_prompts(
    suite: Suite | str | Path | None, images: Path, name: str | None, metrics: Sequence[str] | None
) -> tuple[Suite | str | Path, str]:
    """The suite and the name of a run of images without prompts: the published scorers, and the folder's name."""
    from metrics import Kind, info

    if not metrics:
        raise UsageError("--images without --prompts scores set metrics only: name them, for example --metrics fid")
    check_metrics(metrics)
    for one in metrics:
        if info(one).kind != Kind.SET or not info(one).reference:
            raise UsageError(f"metric '{one}' needs prompts: pass --prompts FILE (without them, only set metrics)")
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", images.absolute().name).strip("-._") or "images"
    return suite or "images", name or called


def _check_no(given: Mapping[str, object], where: str) -> None:
    for key, value in given.items():
        if value is not None:
            raise UsageError(f"--{key} has no meaning {where}: omit it")


def _check_reference(suite: Suite, with_prompts: bool) -> None:
    """UsageError for set metrics that nothing can be compared with: told before an image is copied."""
    from bench.scoring.reference import reference_identity
    from metrics import Kind, info

    sets = [name for name in suite.metrics if info(name).kind == Kind.SET and info(name).reference]
    if suite.reference is not None and (sets or not with_prompts):
        reference_identity(suite.reference)
    elif sets:
        raise UsageError(
            f"metric '{sets[0]}' compares with reference images, but suite '{suite.name}' has none: "
            "pass --reference DIR"
        )


def _check_source(runs: bool, absent: Sequence[str], of: int) -> None:
    if runs and len(absent) < of:
        raise UsageError("give either runs or --images (with --suite, --prompts and --name), not both")
    if not runs and len(absent) == of:
        raise UsageError("nothing to score: give runs, or --images with --suite, --prompts and --name")
    if not runs and absent:
        which = "; --suite images is the one with the published scorers" if "--suite" in absent else ""
        raise UsageError(f"--images also needs {' and '.join(absent)}{which}")


@dataclass(frozen=True, slots=True)
class _How:
    """By which suite (None: each run its own), with which of its metrics and what reference, by which protocol."""

    suite: Suite | None
    metrics: Sequence[str] | None
    reference: dict[str, str] | None
    protocol: str
    device: str
    progress: Progress | None

    @property
    def whole(self) -> bool:
        """Whether all is scored that the run's own suite asks for."""
        return self.metrics is None and self.suite is None and self.protocol == "corrected"

    def groups(self, stores: Sequence[RunStore]) -> list[tuple[Suite, list[RunStore]]]:
        """Runs of equal metrics together, so that they share features and loaded models."""
        groups: dict[str, tuple[Suite, list[RunStore]]] = {}
        for store in stores:
            suite = (self.suite or suite_of(store)).override(metrics=self.metrics, reference=self.reference)
            same = suite.model_dump_json(include={"metrics", "reference", "label"})
            groups.setdefault(same, (suite, []))[1].append(store)
        return [(scored_by(suite, self.protocol), group) for suite, group in groups.values()]


def _rescore(stores: Sequence[RunStore], how: _How, options: EngineOptions) -> list[RunStore]:
    """Score runs."""
    groups = how.groups(stores)
    with lock_runs(stores), chosen_engine(options) as work:
        for store in stores:
            broken_pictures(store.path, store.name, store.images())
        try:
            values = sum(score_and_summarise(group, suite, how.device, how.progress, work) for suite, group in groups)
        except BenchError as error:
            error.stores = [store for store in stores if error.failures and store.score_metrics()]
            raise
        if how.whole:
            mark_complete([store for store in stores if has_all_images(store)])
    if values == 0:
        logger.info("nothing to do: all scores exist")
    return list(stores)


def _rescore_share(stores: Sequence[RunStore], how: _How, share: Share) -> list[RunStore]:
    """Score a share of runs; the last share scores what is left."""
    groups = how.groups(stores)
    for suite, group in groups:
        shared = workers_of(group, share)
        with at_work(shared):
            score_share(shared, suite, share, how.device, None, how.progress)

    def missing() -> str:
        count = sum(left_in_pieces(store, suite) for suite, group in groups for store in group)
        return f"{count} values are missing" if count else ""

    last = finish_if_last(stores, share, missing, lambda: _rescore(stores, how, EngineOptions()))
    return list(stores) if last else []


def _adopt(
    take: Callable[[], RunStore], suite: Suite, device: str, progress: Progress | None, engine: Engine
) -> list[RunStore]:
    """Take images as a run, and score them."""
    store = take()
    try:
        with lock_runs([store]), completing([store], partial=True):
            score_and_summarise([store], suite, device, progress, engine)
    except BenchError:
        if not store.manifest().complete and not store.score_metrics():
            store.remove()  # it was made of copies by this call, and would only make its name ambiguous
        raise
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
