"""One run while it is worked on: what it has, what it takes over from siblings, what it misses, what it records."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import BenchError, UsageError
from bench.generation.cutting import layers_of, noted
from bench.models.old_runs import doubts
from bench.runtime.log import ONCE, get_logger
from bench.runtime.memory import needed_memory
from bench.sampling.batches import Cut, Key
from bench.store.atomic import remove_damaged, to_json
from bench.store.manifest_files import restore_made
from bench.store.outdated import mark_outdated, mark_stale
from bench.store.records import ImageRow, Manifest
from bench.store.run_store import RunStore, find_runs
from bench.store.shared_store import fold
from bench.suite.plan import RunPlan, same_pixels

if TYPE_CHECKING:
    from bench.suite.schema import Suite

logger = get_logger(__name__)

SECONDS_BETWEEN_PARTS = 3.0
COUNTS = (
    "images",
    "images_generated",
    "images_reused",
    "network_evaluations_needed",
    "network_evaluations_executed",
)


class Recorder(Protocol):
    """Where the images that were made of one run are recorded, and what they cost is counted."""

    plan: RunPlan
    rows: list[ImageRow]
    seconds: float
    device_memory: int

    @property
    def store(self) -> RunStore:
        """The run's folder."""

    @property
    def counts(self) -> MutableMapping[str, int]:
        """How much was made: the keys of `COUNTS`."""

    def record(self, after: float = 0.0) -> None:
        """Record the saved images, if the last time was more than `after` seconds ago."""

    def resized(self, size: int) -> None:
        """From now on `size` images go through the network together."""


@dataclass(slots=True)
class Run:
    """One run while it is worked on."""

    plan: RunPlan
    store: RunStore
    manifest: Manifest
    cut: Cut = field(default_factory=lambda: Cut(0, ()))  # a size of 0 is not known yet
    missing: set[Key] = field(default_factory=set)
    lost: set[Key] = field(default_factory=set)
    rows: list[ImageRow] = field(default_factory=list)  # saved, not yet recorded
    known: dict[Key, str] = field(default_factory=dict)  # sha256 of the recorded images
    recorded_at: float = 0.0
    seconds: float = 0.0
    device_memory: int = 0

    @property
    def n_missing(self) -> int:
        """Images to make."""
        return len(self.missing) + len(self.lost)

    @property
    def prompt_ids(self) -> list[str]:
        """The prompts, in their order."""
        return [prompt.id for prompt in self.plan.prompts]

    @property
    def counts(self) -> MutableMapping[str, int]:
        """How much was made: those of the manifest."""
        return self.manifest.counts

    def take_in_spending(self) -> None:
        """Add to the manifest what workers spent that ended without telling. The caller holds the whole run."""
        if void := fold(self.store, self.manifest):
            self.store.write_manifest(self.manifest)
            for path in void:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what lies in the place of images to make, unrecorded or damaged: a worker replaces no file."""
        there = {prompt for prompt in self.prompt_ids if self.store.image_path(prompt, 0).parent.is_dir()}
        for key in self.missing | self.lost:
            path = self.store.image_path(*key)
            if key[0] in there and not remove_damaged(path):
                raise UsageError(f"{path} is in the place of an image and cannot be removed: remove it")

    def resized(self, size: int) -> None:
        """From now on `size` images go through the network together; the manifest keeps all sizes that there were."""
        noted(self.manifest, self.cut, size)
        self.store.write_manifest(self.manifest)

    def record(self, after: float = 0.0) -> None:
        """Record the saved images, if the last time was more than `after` seconds ago."""
        if self.rows and time.monotonic() - self.recorded_at >= after:
            mark_stale(self.store, self.rows, self.known)
            self.store.append_images(self.rows)
            self.known |= {row.key: row.sha256 for row in self.rows}
            self.rows = []
            self.recorded_at = time.monotonic()
            self.write_counts()

    def write_counts(self) -> None:
        """Counts and timings go to the disk with the rows, so that they survive a kill as well."""
        timings, made = self.manifest.timings, self.manifest.counts["images_generated"]
        seconds = float(timings.get("generate_seconds") or 0.0) + self.seconds
        self.seconds = 0.0
        timings["generate_seconds"] = seconds
        timings["images_per_second"] = made / seconds if seconds > 0 else None
        timings["peak_memory_bytes"] = max(int(timings.get("peak_memory_bytes") or 0), needed_memory())
        if self.device_memory:
            before = int(timings.get("peak_device_memory_bytes") or 0)
            timings["peak_device_memory_bytes"] = max(before, self.device_memory)
        self.store.write_counts(self.manifest)

    def write_image_count(self) -> None:
        """Write how many images there are, unless the manifest says so already. A finished run stays `complete`."""
        count = len({row.key for row in self.store.images()})
        before = self.store.manifest() if self.store.exists() else None
        self.manifest.counts["images"] = min(count, len(self.manifest.prompts) * self.manifest.samples)
        if before is None or to_json(before.to_dict()) != to_json(self.manifest.to_dict()):
            self.store.write_manifest(self.manifest)


def open_run(plan: RunPlan, suite: Suite, store: RunStore, take_over: bool = True) -> Run:
    """Look at what is there: continue, take over from siblings, and find out what is to do."""
    manifest = planned_manifest(plan, suite, store)
    run = Run(plan, store, manifest)
    _inspect(run)
    run.cut = layers_of(manifest, bool(run.known))
    _tell_of_outdated(run)
    if run.missing and take_over and _adopt(run):
        _inspect(run, say=False)
    if run.n_missing:
        manifest.status = "running"
    return run


def planned_manifest(plan: RunPlan, suite: Suite, store: RunStore) -> Manifest:
    """The manifest of a run, with what of the one that is there stays."""
    new = Manifest(
        suite=suite.name,
        method=plan.method.judged_name,
        run=plan.name,
        identity=dict(plan.identity),
        resolved_suite=suite.resolved(),
        resolved_method=plan.method.to_dict(),
        prompts=[{"id": prompt.id, "text": prompt.text, "tags": list(prompt.tags)} for prompt in plan.prompts],
        samples=plan.samples,
        trained_on=list(plan.method.trained_on),
        counts=dict.fromkeys(COUNTS, 0),
    )
    if not store.exists():
        _restore(store, new)
        return new
    old = store.manifest()
    if old.complete and old.samples > plan.samples:
        new.samples = old.samples  # fewer samples of a finished run are still all of its samples
    new.provenance, new.timings, new.cards, new.notes = old.provenance, old.timings, old.cards, old.notes
    new.counts, new.grown, new.name = new.counts | old.counts, old.grown, old.name
    new.batches = old.batches
    new.status = old.status
    return new


def _restore(store: RunStore, manifest: Manifest) -> None:
    """Of a run whose manifest was deleted: go on with what is known of how its images were made, and say so."""
    if not any(True for _ in store.images()):
        return
    if restore_made(store.path, manifest):
        logger.warning(
            f"{store.name} has images and no manifest: it is made anew, with its batches, counts and timings as "
            "recorded in made.json"
        )
    else:
        logger.warning(
            f"{store.name} has images and no manifest: it is made anew, but how its images were cut into batches is "
            "not known any more: images that are made again may differ from the lost ones in last bits"
        )


def _inspect(run: Run, say: bool = True) -> None:
    run.known = {row.key: row.sha256 for row in run.store.images()}
    _, bad = run.store.verified_images(item.key for item in run.plan.items)
    run.missing = {(one.prompt_id, one.sample) for one in bad} - run.known.keys() - run.store.refusals().keys()
    run.lost = {(one.prompt_id, one.sample) for one in bad} & run.known.keys()
    damaged = [one for one in bad if one.damaged and (one.prompt_id, one.sample) in run.known]
    if say and damaged:
        shown = ", ".join(f"{one.prompt_id}/{one.sample}.png is {one.why}" for one in damaged[:3])
        more = f", and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        logger.warning(f"{run.plan.name}: {shown}{more}: regenerating")


def refuse_outdated(stores: Sequence[RunStore]) -> None:
    """UsageError for a run that must not be gone on with: what an older version made of it is not what this one would.

    Runs of weights that are read otherwise today have another name today; those of a base network that was changed by
    the company of its call have not.
    """
    for path, doubt in doubts([store for store in stores if store.exists()]).items():
        if doubt.certain:
            raise UsageError(
                f"run {path} is outdated: {doubt.why}. Move it away, or regenerate it with --resume never."
            )


def _tell_of_outdated(run: Run) -> None:
    """Say which runs are this one but for how an older version read the weights: their pictures are not today's."""
    if "loader_version" not in run.plan.identity:
        return
    others = [other for other in find_runs(run.store.path.parent) if other.path != run.store.path]
    known = doubts(others)
    for other in others:
        doubt = known.get(other.path)
        try:
            manifest = other.manifest()
        except BenchError:
            continue
        read_otherwise = doubt is not None and doubt.certain and manifest.method == run.manifest.method
        if _is_older(manifest.identity, run.plan.identity, read_otherwise):
            why = "an older version made it, which read these weights otherwise"
            mark_outdated(other, f"{why}: {run.plan.name} takes its place")
            logger.warning(
                f"{other.name} is outdated: {why}; its images are not used for {run.plan.name}, and it is left out of "
                "reports and comparisons",
                extra=ONCE,
            )


def _is_older(identity: Mapping[str, Any], today: Mapping[str, Any], read_otherwise: bool) -> bool:
    """Whether a run is today's but for how its weights were read; their digest may have left out a file beside them."""
    if int(identity.get("loader_version", 1)) >= int(today["loader_version"]):
        return False
    aside = {"loader_version", "tuned"} if read_otherwise else {"loader_version"}
    before, now = ({key: one[key] for key in one.keys() - aside} for one in (identity, today))
    return before == now


def _adopt(run: Run) -> int:
    """Take over images from runs that differ in nothing but the set of prompts; returns how many."""
    wanted = {item.key: item.prompt for item in run.plan.items if item.key in run.missing}
    taken = 0
    others = [one for one in find_runs(run.store.path.parent) if one.name.startswith(run.plan.method.row_name)]
    outdated = {path for path, doubt in doubts(others).items() if doubt.certain} if wanted else set()
    for other in others:
        if not wanted or other.name == run.plan.name or other.path in outdated:
            continue
        try:
            if not same_pixels(other.manifest().identity, run.plan.identity):
                continue
        except BenchError:  # a run of a newer version, or a damaged one: nothing to take
            continue
        rows = [row for row in other.images() if wanted.get(row.key) == row.prompt]
        if rows and not run.store.exists():
            run.store.write_manifest(run.manifest)
        adopted = [row for row in (run.store.adopt_image(other, row) for row in rows) if row is not None]
        run.rows = adopted
        run.record()
        run.cut = run.cut.reusing(run.prompt_ids, {row.key for row in adopted})
        for row in adopted:
            del wanted[row.key]
        taken += len(adopted)
    if taken:
        run.manifest.counts["images_reused"] += taken
        noted(run.manifest, run.cut)
        run.store.write_manifest(run.manifest)
        logger.info(f"{run.plan.name}: {taken} images reused from a run that differs only in its prompts")
    return taken
