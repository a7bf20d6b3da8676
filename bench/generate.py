"""Plans -> images on disk. Makes what is missing, takes over what a sibling run already has, and survives a kill.

PNGs are written first, then the rows that make them part of the run. `complete` is written when all is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import provenance
from bench.devices import peak_memory, prepare_torch
from bench.errors import BenchError
from bench.files import to_json
from bench.log import note
from bench.plan import RunPlan, same_pixels
from bench.progress import Progress, Silent
from bench.records import ImageRow, Manifest
from bench.replace import starting_again
from bench.sampling.batches import Key, Work, make_work
from bench.sampling.tree import Action, actions_of, build_tree, executed, needed
from bench.stale import mark_stale
from bench.store import RunStore, find_runs, lock_runs
from bench.weights import resolve

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite import Suite

SECONDS_BETWEEN_PARTS = 3.0
COUNTS = (
    "images",
    "images_generated",
    "images_reused",
    "network_evaluations_needed",
    "network_evaluations_executed",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to generate; nothing here changes what an image is.

    `resume`: "missing" makes what is not there or damaged; "always" the same (every file is verified in both);
    "never" makes all images anew and replaces the old run once they are complete.
    """

    batch_size: int = 32
    device: str = "cpu"
    resume: str = "missing"


@dataclass(slots=True)
class _Run:
    """One run while it is worked on."""

    plan: RunPlan
    store: RunStore
    manifest: Manifest
    missing: set[Key] = field(default_factory=set)
    lost: set[Key] = field(default_factory=set)
    rows: list[ImageRow] = field(default_factory=list)  # saved, not yet recorded
    known: dict[Key, str] = field(default_factory=dict)  # sha256 of the recorded images
    recorded_at: float = 0.0
    seconds: float = 0.0

    @property
    def todo(self) -> int:
        return len(self.missing) + len(self.lost)

    def record(self, after: float = 0.0) -> None:
        """Record the saved images, if the last time was more than `after` seconds ago."""
        if self.rows and time.monotonic() - self.recorded_at >= after:
            mark_stale(self.store, self.rows, self.known)
            self.store.append_images(self.rows)
            self.known |= {row.key: row.sha256 for row in self.rows}
            self.rows = []
            self.recorded_at = time.monotonic()
            self.write_manifest()

    def write_manifest(self) -> None:
        """Counts and timings go to the disk with the rows, so that they survive a kill as well."""
        timings, made = self.manifest.timings, self.manifest.counts["images_generated"]
        seconds = float(timings.get("generate_seconds") or 0.0) + self.seconds
        self.seconds = 0.0
        timings["generate_seconds"] = seconds
        timings["images_per_second"] = made / seconds if seconds > 0 else None
        timings["peak_memory_bytes"] = max(int(timings.get("peak_memory_bytes") or 0), peak_memory())
        self.store.write_manifest(self.manifest)


def generate(
    plans: Sequence[RunPlan],
    suite: Suite,
    stores: Sequence[RunStore],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> int:
    """Make the images of all plans (stores[n] is the run of plans[n]); returns how many were made now.

    Methods share their common steps. No model is loaded when nothing is missing. Raises BenchError (weights missing,
    disk full, ...); whatever was finished stays, and the next call goes on from there.
    """
    settings, progress = settings or Settings(), progress or Silent()
    with lock_runs(stores):
        if settings.resume != "never":
            return _generate(plans, suite, stores, settings, progress)
        with starting_again(stores) as fresh:
            return _generate(plans, suite, fresh, settings, progress)


def _generate(
    plans: Sequence[RunPlan], suite: Suite, stores: Sequence[RunStore], settings: Settings, progress: Progress
) -> int:
    runs = [_open(plan, suite, store, settings) for plan, store in zip(plans, stores, strict=True)]
    total = sum(run.todo for run in runs)
    if total:
        for run in runs:
            run.store.write_manifest(run.manifest)
        progress.start("generate", total)
        try:
            _make_all(runs, suite, settings, progress)
        finally:
            progress.finish()
    for run in runs:
        _record_counts(run)
    return total


def _open(plan: RunPlan, suite: Suite, store: RunStore, settings: Settings) -> _Run:
    """Look at what is there: continue, take over from siblings, and find out what is to do."""
    manifest = _manifest(plan, suite, store)
    run = _Run(plan, store, manifest)
    _inspect(run)
    if run.missing and settings.resume != "never" and _adopt(run):
        _inspect(run, say=False)
    if run.todo:
        manifest.status = "running"
    return run


def _manifest(plan: RunPlan, suite: Suite, store: RunStore) -> Manifest:
    new = Manifest(
        suite=suite.name,
        method=plan.method.name,
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
        return new
    old = store.manifest()
    if old.complete and old.samples > plan.samples:
        new.samples = old.samples  # fewer samples of a finished run are still all of its samples
    new.provenance, new.timings, new.cards, new.notes = old.provenance, old.timings, old.cards, old.notes
    new.counts = new.counts | old.counts
    new.status = old.status
    return new


def _inspect(run: _Run, say: bool = True) -> None:
    run.known = {row.key: row.sha256 for row in run.store.images()}
    _, bad = run.store.verified_images(item.key for item in run.plan.items)
    run.missing = {(one.prompt_id, one.sample) for one in bad} - run.known.keys()
    run.lost = {(one.prompt_id, one.sample) for one in bad} & run.known.keys()
    damaged = [one for one in bad if one.damaged and (one.prompt_id, one.sample) in run.known]
    if say and damaged:
        shown = ", ".join(f"{one.prompt_id}/{one.sample}.png is {one.why}" for one in damaged[:3])
        more = f", and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        note(f"{run.plan.name}: {shown}{more}: made again")


def _adopt(run: _Run) -> int:
    """Take over images from runs that differ in nothing but the set of prompts; returns how many."""
    wanted = {item.key: item.prompt for item in run.plan.items if item.key in run.missing}
    results, taken = run.store.path.parent, 0
    for other in find_runs(results):
        if not wanted or other.name == run.plan.name or not other.name.startswith(f"{run.plan.method.safe_name}@"):
            continue
        try:
            if not same_pixels(other.manifest().identity, run.plan.identity):
                continue
        except BenchError:  # a run of a newer version, or a damaged one: nothing to take
            continue
        rows = [row for row in other.images() if wanted.get(row.key) == row.prompt]
        adopted = [row for row in (run.store.adopt_image(other, row) for row in rows) if row is not None]
        run.rows = adopted
        run.record()
        for row in adopted:
            del wanted[row.key]
        taken += len(adopted)
    if taken:
        run.manifest.counts["images_reused"] += taken
        run.write_manifest()
        note(f"{run.plan.name}: {taken} images taken over from a run that differs only in its prompts")
    return taken


def _make_all(runs: Sequence[_Run], suite: Suite, settings: Settings, progress: Progress) -> None:
    by_name = {run.plan.name: run for run in runs if run.todo}
    actions = {name: actions_for(run.plan, suite.sampler.steps) for name, run in by_name.items()}
    order = list(dict.fromkeys(item.key for run in runs for item in run.plan.items))
    prompts = {item.key: item.prompt for run in runs for item in run.plan.items}
    work = make_work(
        order,
        {name: run.missing for name, run in by_name.items()},
        {name: run.lost for name, run in by_name.items()},
        settings.batch_size,
    )
    model = _load(by_name, suite, settings)
    began = time.monotonic()
    with _recording(by_name):
        for run in by_name.values():
            run.recorded_at = began
        for batch in work:
            _make_batch(model, batch, prompts, by_name, actions, progress)


def actions_for(plan: RunPlan, steps: int) -> tuple[Action, ...]:
    """What each denoising step of a plan runs; the tuned network is called by the digest of its weights."""
    guidance = plan.identity["guidance"]
    tuned = (str(plan.identity["tuned"]), float(guidance["tuned"])) if "tuned" in guidance else None
    return actions_of(plan.method.schedule.weights(steps), ("base", float(guidance.get("base", 1.0))), tuned)


def _load(runs: Mapping[str, _Run], suite: Suite, settings: Settings) -> DiffusionModel:
    from bench.models import load_model

    model = load_model(resolve(suite.model.weights), suite, prepare_torch(settings.device))
    made_with = provenance.collect(str(model.device))
    for run in runs.values():
        run.manifest.provenance = run.manifest.provenance or made_with
        if run.plan.identity["tuned"] is not None:
            scale = run.plan.method.lora_scale
            path = resolve(str(run.plan.method.weights))
            model.add_network(str(run.plan.identity["tuned"]), path, **({} if scale == 1.0 else {"scale": scale}))
    return model


@contextlib.contextmanager
def _recording(runs: Mapping[str, _Run]) -> Iterator[None]:
    """Whatever ends the work, the images saved so far are recorded and the manifests know the time spent."""
    try:
        yield
    except BaseException:
        # The first error is the one to tell; on a full disk this fails as well.
        with contextlib.suppress(BenchError):
            _close(runs)
        raise
    _close(runs)


def _close(runs: Mapping[str, _Run]) -> None:
    for run in runs.values():
        run.record()
        run.write_manifest()


def _make_batch(
    model: DiffusionModel,
    work: Work,
    prompts: Mapping[Key, str],
    runs: Mapping[str, _Run],
    actions: Mapping[str, tuple[Action, ...]],
    progress: Progress,
) -> None:
    from bench.sampling.loop import as_batch, run_tree

    chosen = {name: actions[name] for name in runs if name in work.save}
    tree = build_tree(chosen)
    seed = int(next(iter(runs.values())).plan.identity["seed"])
    batch = as_batch(model, seed, [(key[0], prompts[key], key[1]) for key in work.keys])
    costs, alone = executed(tree), needed(chosen)
    since = time.perf_counter()
    for names, latents in run_tree(model, tree, batch):
        pixels = model.decode(latents).numpy()
        for name in names:
            run, wanted = runs[name], work.save[name]
            places = [place for place, key in enumerate(work.keys) if key in wanted]
            saved = [run.store.save_image(*work.keys[place], pixels[place]) for place in places]
            now = time.perf_counter()
            share, since = (now - since) / len(places), now
            for place, (path, sha256) in zip(places, saved, strict=True):
                prompt_id, sample = work.keys[place]
                text = prompts[work.keys[place]]
                run.rows.append(ImageRow(prompt_id, text, sample, seed, path, sha256, share))
            run.seconds += share * len(places)
            run.manifest.counts["images_generated"] += len(places)
            run.manifest.counts["network_evaluations_needed"] += alone[name] * len(places)
            run.manifest.counts["network_evaluations_executed"] += costs[name] * len(work.keys)
            run.record(SECONDS_BETWEEN_PARTS)
            progress.advance(len(places))


def _record_counts(run: _Run) -> None:
    """Write how many images there are, unless the manifest says so already. A finished run stays `complete`."""
    count = len({row.key for row in run.store.images()})
    before = run.store.manifest() if run.store.exists() else None
    run.manifest.counts["images"] = min(count, len(run.manifest.prompts) * run.manifest.samples)
    if before is None or to_json(before.to_dict()) != to_json(run.manifest.to_dict()):
        run.store.write_manifest(run.manifest)
