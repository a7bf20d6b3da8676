"""The training loop, from top to bottom: prepare, then per update batches -> loss -> gradient -> new weights -> log.

`steps.py` says what a batch costs under each objective, `objectives.py` holds the formulas, `optimise.py` makes the
update, `checkpoint.py` writes. Everything random in an update is a function of (seed, number of the update, number of
the batch in it), so a training that goes on after a kill is the training that was not killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import UsageError
from bench.models.parameterisation import check_scheduler
from bench.runtime.progress import Progress, Silent
from bench.suite.load import check_local, load_suite
from bench.suite.schema import Suite
from bench.training import checkpoint
from bench.training.data import Drawing, TrainingData, data_for
from bench.training.guard import alone, check_place, checkpoints_of
from bench.training.identity import default_out, difference, facts_of, still_to_do
from bench.training.logs import Log, Watch
from bench.training.network import Trainable, make_trainable
from bench.training.optimise import Optimiser, own_device
from bench.training.options import DEFAULT_REWARD, NEED_PICTURES, TrainOptions, parse_reward
from bench.training.probe import Probe
from bench.training.recipes import TrainRecipe, check_official, check_step_indices, recipe_for
from bench.training.rewards import check_differentiable, load_rewards, load_scorer
from bench.training.steps import STEPS, Draws, Outcome, Step, Trainer

logger = logging.getLogger(__name__)

Evaluate = Callable[[int, Path | None], None]
"""Called with (updates made, their checkpoint; None before the first) where the training shall be evaluated."""
STEPS_BETWEEN_NOTES = 20


@dataclass(slots=True)
class Training:
    """One training while it runs."""

    trainer: Trainer
    trainable: Trainable
    optimiser: Optimiser
    step_loss: Step
    seed: int
    out: Path
    facts: dict[str, Any] = field(default_factory=dict)
    probe: Probe | None = None
    eval_every: int | None = None
    evaluate: Evaluate | None = None
    done: int = 0
    watch: Watch = field(default_factory=Watch)

    @property
    def recipe(self) -> TrainRecipe:
        """Its settings."""
        return self.trainer.recipe

    @property
    def folder(self) -> Path:
        """Where the checkpoint of the updates so far goes."""
        return self.out if self.done == self.recipe.steps else checkpoint.step_folder(self.out, self.done)

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return bool(self.optimiser.accelerator.is_main_process)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on; the data's position is the number of updates."""
        average = self.trainable.average
        return {
            "facts": self.facts,
            "done": self.done,
            "weights": {name: value.detach() for name, value in self.trainable.parameters.items()},
            "average": None if average is None else average.state_dict(),
            "rewards": list(self.watch.rewards),
            **self.optimiser.state(),
        }

    def go_on(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        with torch.no_grad():
            for name, value in state["weights"].items():
                self.trainable.parameters[name].copy_(value)
        if self.trainable.average is not None:
            self.trainable.average.load_state_dict(state["average"])
            self.trainable.average.to(device=self.trainer.model.device)
        self.optimiser.load_state(state)
        self.watch.rewards = list(state["rewards"])
        self.done = int(state["done"])


def train(
    objective: str, options: TrainOptions, evaluate: Evaluate | None = None, progress: Progress | None = None
) -> Path | None:
    """Train and write the checkpoint; None (and a note) if a complete one of the same settings is there.

    Raises BenchError, one sentence each; the last checkpoint stays.
    """
    suite = load_suite(options.suite)
    check_local(suite)
    recipe = recipe_for(options, suite.label)
    check_step_indices(recipe, objective, suite.sampler.steps, suite.name)
    reward = {} if objective == "base" else parse_reward(options.reward or DEFAULT_REWARD)
    for name in [*reward, *([recipe.clip_metric] if recipe.clip_weight else [])]:
        check_differentiable(name, suite)
    out = options.out or default_out(objective, suite, reward, options.seed)
    check_official(options, suite.name, suite.label)
    data = _data_of(options, suite, recipe)
    facts = facts_of(options, suite, reward, recipe, data)
    if options.resume != "never" and not still_to_do(out, facts) and not checkpoint.state_path(out).exists():
        logger.info(f"nothing to do: {out} already contains this training run; pass `--resume never` to retrain")
        return None
    check_place(out, checkpoints_of(recipe, options.eval_every))
    with alone(out):
        state = None if options.resume == "never" else _state_of(out, facts)
        training = prepare(suite, recipe, reward, options, data)
        training.facts, training.evaluate = facts, evaluate
        if state is not None:
            training.go_on(state)
            logger.info(f"resuming after update {training.done} of {recipe.steps}")
        run(training, progress or Silent())
    return out


def _data_of(options: TrainOptions, suite: Suite, recipe: TrainRecipe) -> TrainingData:
    """What is read, drawn as the recipe says."""
    drawing = Drawing(recipe.order, recipe.captions, recipe.fit, options.seed)
    return data_for(suite, options.data, options.objective in NEED_PICTURES, drawing, options.caption_column)


def _state_of(out: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The state of this training; UsageError if it is of another one."""
    path = checkpoint.state_path(out)
    state = checkpoint.load_state(path)
    if state is not None and (other := difference(state["facts"], facts)):
        raise UsageError(
            f"{path} belongs to another training run ({other}): pass another --out, or --resume never to replace it"
        )
    return state


def prepare(
    suite: Suite, recipe: TrainRecipe, reward: dict[str, float], options: TrainOptions, data: TrainingData
) -> Training:
    """Load the model, its trainable network and the reward. Raises BenchError."""
    from bench.models import weights
    from bench.models.load import load_model
    from bench.runtime.devices import prepare_torch

    device = own_device(prepare_torch(options.device))
    # With a LoRA the frozen weights may stand in half precision; weights that learn need all of their bits.
    dtype = recipe.precision if recipe.lora_rank else "float32"
    model: Any = load_model(weights.resolve(suite.model.weights), suite.model_copy(update={"dtype": dtype}), device)
    check_scheduler(model.new_scheduler())
    trainable = make_trainable(model, recipe, weights.resolve(options.init) if options.init else None)
    scorer = load_rewards(reward, suite, device) if reward else None
    clip = load_scorer(recipe.clip_metric, suite, device) if recipe.clip_weight else None
    trainer = Trainer(model, scorer, data, recipe, suite, clip)
    optimiser = Optimiser.of(trainable.values(), recipe, device)
    probe = Probe.of(model, suite, recipe, device)
    out = options.out or default_out(options.objective, suite, reward, options.seed)
    step = STEPS[options.objective]
    return Training(trainer, trainable, optimiser, step, options.seed, out, probe=probe, eval_every=options.eval_every)


def run(training: Training, progress: Progress) -> None:
    """Make the updates that are left, with checkpoints, log and evaluations on the way."""
    recipe = training.recipe
    progress = progress if training.leads else Silent()
    journal = Log(checkpoint.log_folder(training.out), training.done).open() if training.leads else None
    progress.start("train", recipe.steps - training.done)
    began = time.monotonic()
    try:
        if _evaluates(training):  # also where it goes on: a kill may have come in the middle of the evaluation
            _evaluate(training, progress, training.done)
        while training.done < recipe.steps:
            values = update(training)
            values["seconds"] = time.monotonic() - began
            if _saves(training) and journal is not None:
                _probe(training, journal, values)
            if journal is not None:
                journal.write(training.done, values)
                _tell(training, values)
            if _saves(training):  # after the row: it is dropped where the training goes on before it, never missed
                _save(training)
            progress.advance()
            if _evaluates(training):
                _evaluate(training, progress, training.done)
    finally:
        progress.finish()
        if journal is not None:
            journal.close()
    if training.leads:
        checkpoint.remove_state(training.out)


def update(training: Training) -> dict[str, float]:
    """One update: `accumulation` batches, their gradients averaged, new weights. Returns what the log shows."""
    number = training.done + 1
    outcomes = []
    for batch in range(training.recipe.accumulation):
        outcome = batch_loss(training, number, batch)
        training.optimiser.backward(outcome.loss)
        outcomes.append(outcome)
    values = _values(training, outcomes)
    values["learning_rate"] = training.optimiser.learning_rate
    values["gradient_norm"] = training.optimiser.update()
    scales = training.optimiser.accelerator.scaler is not None
    training.watch.check(number, values.get("reward"), values["gradient_norm"], scales)
    training.trainable.update_average()
    training.done = number
    return values


def batch_loss(training: Training, number: int, batch: int) -> Outcome:
    """The loss of one batch, with the randomness that belongs to (seed, update, place in the update) alone.

    Batches of an update are numbered through all processes, so two processes with one batch each train what one process
    trains with two accumulated batches.
    """
    accelerator = training.optimiser.accelerator
    count = training.recipe.accumulation * accelerator.num_processes
    index = batch * accelerator.num_processes + accelerator.process_index
    rng = np.random.default_rng([training.seed, number, index])
    seed = int(rng.integers(2**62))
    torch.manual_seed(seed)  # for networks with dropout
    draws = Draws(rng, torch.Generator().manual_seed(seed), (number - 1) * count + index + 1)
    with accelerator.autocast():
        return training.step_loss(training.trainer, draws)


def _values(training: Training, outcomes: list[Outcome]) -> dict[str, float]:
    """Means over the batches and processes of an update."""

    def mean(values: list[Tensor]) -> float:
        value = torch.stack([value.detach().float().mean() for value in values]).mean()
        return float(training.optimiser.accelerator.reduce(value, reduction="mean"))

    found = {"loss": mean([outcome.loss for outcome in outcomes])}
    rewards = [outcome.rewards for outcome in outcomes if outcome.rewards is not None]
    if rewards:
        found["reward"] = mean(rewards)
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.terms):
        found[name] = mean([outcome.terms[name] for outcome in outcomes if name in outcome.terms])
    return found


def _saves(training: Training) -> bool:
    done, every = training.done, training.recipe.save_every
    return done % every == 0 or done == training.recipe.steps or _evaluates(training)


def _evaluates(training: Training) -> bool:
    every = training.eval_every
    return training.evaluate is not None and every is not None and training.done % every == 0


def _probe(training: Training, journal: Log, values: dict[str, float]) -> None:
    if training.probe is not None and training.probe.wanted:
        with training.trainable.averaged():
            values["probe_diversity"], grid = training.probe.run()
        journal.grid(training.done, grid)


def _save(training: Training) -> None:
    """Checkpoint, then state, so that the state never stands for something that is not written."""
    if training.leads:
        finished = training.done == training.recipe.steps
        facts = training.facts if finished else {**training.facts, "step": training.done}
        checkpoint.save_checkpoint(training.trainable, training.folder, facts)
        checkpoint.save_state(checkpoint.state_path(training.out), training.state())
    training.optimiser.accelerator.wait_for_everyone()


def _evaluate(training: Training, progress: Progress, done: int) -> None:
    """Hand the checkpoint to the suite's probe; the bar begins again with what is left."""
    assert training.evaluate is not None
    progress.finish()
    if training.leads:
        training.evaluate(done, training.folder if done else None)
    training.optimiser.accelerator.wait_for_everyone()
    progress.start("train", training.recipe.steps - done)


def _tell(training: Training, values: dict[str, float]) -> None:
    done, total = training.done, training.recipe.steps
    if done % STEPS_BETWEEN_NOTES == 0 or done == total:
        reward = f"{values['reward']:.5g}" if "reward" in values else "-"
        logger.info(f"step {done}/{total}  loss {values['loss']:.5g}  reward {reward}")
