"""Plans -> images on disk. Makes what is missing, takes over what a sibling run already has, and survives a kill.

PNGs are written first, then the rows that make them part of the run. `complete` is written when all is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.generation.batch_size import starting_size
from bench.generation.batches import Maker
from bench.generation.recording import COUNTS, Run, open_run, refuse_outdated
from bench.generation.served import check_no_settings, make_served
from bench.methods.conditions import conditions_of
from bench.models.load import check_guidance, load_model
from bench.models.weights import resolve
from bench.runtime import provenance
from bench.runtime.devices import prepare_torch
from bench.runtime.progress import Progress, Silent
from bench.sampling.batches import make_work
from bench.sampling.tree import Action, actions_of
from bench.store.outdated import LOADER_VERSION
from bench.store.replace import starting_again
from bench.store.run_store import RunStore, lock_runs
from bench.suite.plan import RunPlan, hash8, weights_names
from metrics.weights.hub import commit_of

if TYPE_CHECKING:
    from bench.models.base import DiffusionModel
    from bench.suite.schema import Suite

__all__ = ["COUNTS", "Settings", "actions_for", "generate"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to generate; nothing here changes what an image is (but for the last bit of sums: see docs/models.md).

    `batch_size` of None is found: by the device's memory, or what a run was begun with. `resume`: "missing" makes what
    is not there or damaged; "always" the same (every file is verified in both); "never" makes all images anew and
    replaces the old run once they are complete. `compile` compiles the networks with torch.compile.
    """

    batch_size: int | None = None
    device: str = "cpu"
    resume: str = "missing"
    compile: bool = False


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
    check_guidance(suite, {plan.method.name: plan.identity["guidance"] for plan in plans})
    with lock_runs(stores):
        if settings.resume != "never":
            return _generate(plans, suite, stores, settings, progress)
        with starting_again(stores) as fresh:
            return _generate(plans, suite, fresh, settings, progress)


def _generate(
    plans: Sequence[RunPlan], suite: Suite, stores: Sequence[RunStore], settings: Settings, progress: Progress
) -> int:
    take_over = settings.resume != "never"
    if take_over:
        refuse_outdated(stores)
    runs = [open_run(plan, suite, store, take_over) for plan, store in zip(plans, stores, strict=True)]
    total = sum(run.n_missing for run in runs)
    if total:
        for run in runs:
            run.store.write_manifest(run.manifest)
        progress.start("generate", total)
        try:
            _make_all(runs, suite, settings, progress)
        finally:
            progress.finish()
    for run in runs:
        run.write_image_count()
    return total


def _make_all(runs: Sequence[Run], suite: Suite, settings: Settings, progress: Progress) -> None:
    by_name = {run.plan.name: run for run in runs if run.n_missing}
    if suite.model.endpoint is not None:
        check_no_settings(settings)
        with _recording(by_name):
            make_served(by_name, suite, progress)
        return
    prompts = {item.key: item.prompt for run in runs for item in run.plan.items}
    model = _load(by_name, suite, settings)
    for run in by_name.values():
        run.store.write_manifest(run.manifest)  # with where it is made
    actions = {name: actions_for(run.plan, suite.sampler.steps, _embedded(model)) for name, run in by_name.items()}
    with _recording(by_name):
        model.prepare(list(dict.fromkeys(prompts.values())))
        size = _batch_size(model, by_name, suite, settings)
        work = make_work(
            list(dict.fromkeys(item.key for run in runs for item in run.plan.items)),
            {name: run.missing for name, run in by_name.items()},
            {name: run.lost for name, run in by_name.items()},
            size,
        )
        began = time.monotonic()
        for run in by_name.values():
            run.recorded_at = began
        Maker(model, by_name, actions, prompts, size, progress).make(work)


def _batch_size(model: DiffusionModel, runs: Mapping[str, Run], suite: Suite, settings: Settings) -> int:
    """What was asked for, else what these runs were begun with, else what fits."""
    begun = [int(run.manifest.timings.get("batch_size") or 0) for run in runs.values()]
    size = settings.batch_size or min((one for one in begun if one), default=0)
    if not size:
        prompts = [prompt.text for prompt in next(iter(runs.values())).plan.prompts]
        guidance = max(float(value) for run in runs.values() for value in run.plan.identity["guidance"].values())
        size = starting_size(model, suite.resolution, prompts, guidance)
    for run in runs.values():
        run.manifest.timings["batch_size"] = size
    return size


def actions_for(plan: RunPlan, steps: int, embedded: Container[str] = ()) -> tuple[Action, ...]:
    """What each denoising step of a plan runs; the tuned network is called by the digest of its weights.

    Networks in `embedded` take their guidance as an input, in one evaluation.
    """
    guidance = plan.identity["guidance"]
    sides = {
        side: (name := _network_name(plan, side), float(value), name in embedded) for side, value in guidance.items()
    }
    base = sides.get("base", ("base", 1.0, False))
    return actions_of(plan.method.schedule.weights(steps), base, sides.get("tuned"))


def _network_name(plan: RunPlan, side: str) -> str:
    """What a side's network is called: prompt conditions make it another one."""
    plain = "base" if side == "base" else str(plan.identity["tuned"])
    conditions = plan.identity.get("conditions", {}).get(side)
    return f"{plain}|{hash8(conditions)}" if conditions else plain


def _embedded(model: DiffusionModel) -> frozenset[str]:
    """Names of the networks that take their guidance as an input."""
    return frozenset(name for name, network in model.networks.items() if network.guidance_is_embedded)


def _load(runs: Mapping[str, Run], suite: Suite, settings: Settings) -> DiffusionModel:
    model = load_model(resolve(suite.model.weights), suite, prepare_torch(settings.device))
    made_with = {**provenance.collect(str(model.device)), "loader_version": LOADER_VERSION}
    for run in runs.values():
        run.manifest.provenance = run.manifest.provenance or made_with
        _add_networks(model, run.plan, suite)
        if commits := _commits(run.plan, suite):
            run.manifest.provenance["commits"] = commits
    if settings.compile:
        model.compile()
    return model


def _add_networks(model: DiffusionModel, plan: RunPlan, suite: Suite) -> None:
    """The tuned network of a run, and both sides' networks under its prompt conditions."""
    method = plan.method
    if plan.identity["tuned"] is not None:
        # A family of one's own may have an `add_network` that knows nothing of text encoders.
        more = {"ignore_text": True} if method.text_encoder == "ignore" else {}
        model.add_network(str(plan.identity["tuned"]), resolve(str(method.weights)), method.lora_scale, **more)
    conditions = conditions_of(suite, method)
    for side in plan.identity.get("conditions", {}):
        plain = "base" if side == "base" else str(plan.identity["tuned"])
        acting = conditions.on_side(float(plan.identity["guidance"][side]))
        files = {token: resolve(weights) for token, weights in acting.embeddings}
        model.add_conditions(_network_name(plan, side), plain, acting, files)


def _commits(plan: RunPlan, suite: Suite) -> dict[str, str]:
    """The commit of the hub's repository that each weights name of a run came from; local weights have none."""
    found = {name: commit_of(resolve(name)) for name in weights_names(suite, [plan.method])}
    return {name: commit for name, commit in found.items() if commit is not None}


@contextlib.contextmanager
def _recording(runs: Mapping[str, Run]) -> Iterator[None]:
    """Whatever ends the work, the images saved so far are recorded and the manifests know the time spent."""
    try:
        yield
    except BaseException:
        # The first error is the one to tell; on a full disk this fails as well.
        with contextlib.suppress(BenchError):
            _close(runs)
        raise
    _close(runs)


def _close(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        run.record()
        run.write_counts()
