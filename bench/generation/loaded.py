"""The model of several runs, with all their networks, ready to make batches: what one process or worker holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.generation.batch_size import starting_size
from bench.generation.batches import Maker
from bench.generation.choosing import Choosing
from bench.generation.networks import actions_for, add_networks, embedded_networks
from bench.models.load import load_model
from bench.models.weights import resolve
from bench.runtime import provenance
from bench.runtime.devices import prepare_torch
from bench.runtime.memory import watched
from bench.store.outdated import LOADER_VERSION
from bench.suite.plan import RunPlan, weights_names
from metrics.weights.hub import commit_of

if TYPE_CHECKING:
    from bench.generation.recording import Recorder
    from bench.runtime.progress import Progress
    from bench.sampling.batches import Work
    from bench.suite.schema import Suite


@dataclass(frozen=True, slots=True)
class Settings:
    """How to generate; nothing here changes what an image is (but for the last bit of sums: see docs/models.md).

    `batch_size` of None is found: by the device's memory, or what a run was begun with. `resume`: "missing" makes what
    is not there or damaged; "always" the same (every file is verified in both); "never" makes all images anew and
    replaces the old run once they are complete.
    """

    batch_size: int | None = None
    device: str = "cpu"
    resume: str = "missing"


class Loaded:
    """A model with the networks of all `plans`. `at_a_time`: how many images it takes; 0 while nobody said."""

    @watched()
    def __init__(self, plans: Sequence[RunPlan], suite: Suite, settings: Settings) -> None:
        self.plans = list(plans)
        self.at_a_time = 0
        self._suite = suite
        self.model = load_model(resolve(suite.model.weights), suite, prepare_torch(settings.device))
        for plan in plans:
            add_networks(self.model, plan, suite)
        self._compile = suite.compile
        embedded = embedded_networks(self.model)
        self._actions = {plan.name: actions_for(plan, suite.sampler.steps, embedded) for plan in plans}
        self._chosen = {
            plan.name: Choosing.load(plan.method.search, suite, str(self.model.device))
            for plan in plans
            if plan.method.search is not None
        }
        self._prompts = {prompt.id: prompt.text for plan in plans for prompt in plan.prompts}
        self._prepared = False

    def facts(self) -> list[dict[str, Any]]:
        """Of each plan where it is made, and of which commits (`provenance` of a manifest)."""
        made_with = {**provenance.collect(str(self.model.device)), "loader_version": LOADER_VERSION}
        commits = [_commits(plan, self._suite) for plan in self.plans]
        return [{**made_with, **({"commits": found} if found else {})} for found in commits]

    @watched()
    def fitting_size(self) -> int:
        """How many images fit the device at a time (`bench.generation.batch_size`)."""
        self._prepare()
        prompts = [prompt.text for prompt in self.plans[0].prompts]
        guidance = max(float(value) for plan in self.plans for value in plan.identity["guidance"].values())
        return starting_size(self.model, self._suite.resolution, prompts, guidance)

    @watched()
    def make(self, work: Iterable[Work], runs: Mapping[str, Recorder], progress: Progress) -> None:
        """Make batches, and record their images in the runs (by the names of their plans). Raises BenchError."""
        self._prepare()
        if self._compile:  # behind the probe of the batch size, which runs one image and two
            self.model.compile()
        maker = Maker(self.model, runs, self._actions, self._prompts, self.at_a_time, progress, self._chosen)
        try:
            maker.make(work)
        finally:
            self.at_a_time = maker.size

    def _prepare(self) -> None:
        if not self._prepared:
            self.model.prepare(list(dict.fromkeys(self._prompts.values())))
            self._prepared = True


def _commits(plan: RunPlan, suite: Suite) -> dict[str, str]:
    """The commit of the hub's repository that each weights name of a run came from; local weights have none."""
    found = {name: commit_of(resolve(name)) for name in weights_names(suite, [plan.method])}
    return {name: commit for name, commit in found.items() if commit is not None}
