"""The model of several runs, with all their networks, ready to make batches: what one process or worker holds."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.generation.batch_size import starting_size
from bench.generation.batches import Maker
from bench.methods.conditions import conditions_of
from bench.models.load import load_model
from bench.models.weights import resolve
from bench.runtime import provenance
from bench.runtime.devices import prepare_torch
from bench.sampling.tree import Action, actions_of
from bench.store.outdated import LOADER_VERSION
from bench.suite.plan import RunPlan, hash8, weights_names
from metrics.weights.hub import commit_of

if TYPE_CHECKING:
    from bench.generation.recording import Recorder
    from bench.models.base import DiffusionModel
    from bench.runtime.progress import Progress
    from bench.sampling.batches import Work
    from bench.store.records import Manifest
    from bench.suite.schema import Suite


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


class Loaded:
    """A model with the networks of all `plans`. `at_a_time`: how many images it takes; 0 while nobody said."""

    def __init__(self, plans: Sequence[RunPlan], suite: Suite, settings: Settings) -> None:
        self.plans = list(plans)
        self.at_a_time = 0
        self._suite = suite
        self.model = load_model(resolve(suite.model.weights), suite, prepare_torch(settings.device))
        for plan in plans:
            _add_networks(self.model, plan, suite)
        if settings.compile:
            self.model.compile()
        embedded = _embedded(self.model)
        self._actions = {plan.name: actions_for(plan, suite.sampler.steps, embedded) for plan in plans}
        self._prompts = {prompt.id: prompt.text for plan in plans for prompt in plan.prompts}
        self._prepared = False

    def note(self, manifests: Iterable[Manifest]) -> None:
        """Note in the manifests of the plans, in their order, where they are made, and of which commits."""
        made_with = {**provenance.collect(str(self.model.device)), "loader_version": LOADER_VERSION}
        for plan, manifest in zip(self.plans, manifests, strict=True):
            manifest.provenance = dict(manifest.provenance or made_with)
            if commits := _commits(plan, self._suite):
                manifest.provenance["commits"] = commits

    def fitting_size(self) -> int:
        """How many images fit the device at a time (`bench.generation.batch_size`)."""
        self._prepare()
        prompts = [prompt.text for prompt in self.plans[0].prompts]
        guidance = max(float(value) for plan in self.plans for value in plan.identity["guidance"].values())
        return starting_size(self.model, self._suite.resolution, prompts, guidance)

    def make(self, work: Iterable[Work], runs: Mapping[str, Recorder], progress: Progress) -> None:
        """Make batches, and record their images in the runs (by the names of their plans). Raises BenchError."""
        self._prepare()
        maker = Maker(self.model, runs, self._actions, self._prompts, self.at_a_time, progress)
        try:
            maker.make(work)
        finally:
            self.at_a_time = maker.size

    def _prepare(self) -> None:
        if not self._prepared:
            self.model.prepare(list(dict.fromkeys(self._prompts.values())))
            self._prepared = True


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
