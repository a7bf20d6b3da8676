"""Which training a folder holds: how a checkpoint was made, whether it is there already, where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.store.leftovers import clean_leftovers
from bench.suite.metric_spec import MetricSpec
from bench.suite.schema import Suite
from bench.training import checkpoint
from bench.training.data import TrainingData
from bench.training.options import NEED_PICTURES, TrainOptions, reward_name
from bench.training.pictures import RULE
from bench.training.recipes import TrainRecipe

_DECIDES = ("objective", "seed", "reward", "recipe", "step")
"""What makes a training this one, besides its inputs. The other entries say by which names things were asked for."""

_LATER = {
    "learn": "all",
    "accumulate": "mean",
    "refl_terms": False,
    "fit": "crop",
    "order": "replacement",
    "captions": "any",
}
"""Settings that recipes of earlier versions do not name, with what those versions did."""


def default_out(objective: str, suite: Suite, reward: dict[str, float], seed: int) -> Path:
    """Where a checkpoint goes if nothing else is said."""
    name = f"{objective}-{reward_name(reward)}" if reward else objective
    return Path("results") / "checkpoints" / suite.name / f"{name}-seed{seed}"


def facts_of(
    options: TrainOptions, suite: Suite, reward: dict[str, float], recipe: TrainRecipe, data: TrainingData
) -> dict[str, Any]:
    """training.json: how a checkpoint was made. Nothing in it changes by itself.

    Reports mark the metrics of `trained_on`, and warn where FID compares with the image sets of `trained_on_data`.
    Raises MissingError where the model's weights, or those of a reward, are not there.
    """
    scorers = scorers_of(options.objective, reward, recipe)
    rewards, images = _learnt_before([suite.model.weights, *([options.init] if options.init else [])])
    if options.data is not None and options.objective in NEED_PICTURES:
        images.add(Path(options.data).name)
    facts = {
        "schema_version": 2,
        "objective": options.objective,
        "suite": suite.name,
        "reward": reward or None,
        "trained_on": sorted(rewards | set(scorers)),
        "trained_on_data": sorted(images),
        "init": options.init,
        "data": options.data,
        "seed": options.seed,
        "preset": options.preset,
        "recipe": asdict(recipe),
        "inputs": _inputs(options, suite, scorers, data),
    }
    return {key: _as_json(value) for key, value in facts.items()}


def scorers_of(objective: str, reward: Mapping[str, float], recipe: TrainRecipe) -> list[str]:
    """The metrics that gradient comes from: the rewards, and the one of the CLIP regulariser."""
    clip = [recipe.clip_metric] if objective == "imagerefl" and recipe.clip_weight else []
    return sorted({*reward, *clip})


def difference(stored: Any, facts: Mapping[str, Any]) -> str:
    """What makes the training that is there another one than `facts`: "other sampler, resolution"; "" if nothing."""
    if not isinstance(stored, dict) or not isinstance(stored.get("inputs"), dict):
        return "written by another version of this program"
    one, two = ({key: given.get(key) for key in _DECIDES} | given["inputs"] for given in (stored, facts))
    if isinstance(one["recipe"], dict):  # a setting that came later had its default
        one["recipe"] = _LATER | one["recipe"]
    other = [key for key in two if one.get(key) != two[key]]
    return f"other {', '.join(other)}" if other else ""


def still_to_do(out: Path, facts: Mapping[str, Any]) -> bool:
    """False if `out` is this training, finished. Raises UsageError if something else is there."""
    checkpoint.recover(out)
    clean_leftovers(checkpoint.log_folder(out))  # of a call that was killed, whether or not there is more to do
    found = checkpoint.read_facts(out)
    other = difference(found, facts)
    if not other:
        return False
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        why = f" ({other})" if isinstance(found, dict) else ""
        raise UsageError(f"{out} contains something else{why}: pass another --out, or --resume never to replace it")
    return True


def _learnt_before(start: Sequence[str]) -> tuple[set[str], set[str]]:
    """(metrics, image sets) of the checkpoints that a training starts from: what they learnt is not forgotten."""
    from bench.methods.checkpoints import find_checkpoint
    from bench.models.weights import trained_on
    from bench.scoring.leakage import trained_on_data

    rewards: set[str] = set()
    images: set[str] = set()
    for name in start:
        said, saw = trained_on(name)
        known = find_checkpoint(name)
        rewards |= {*said, *(known.trained_on if known is not None else ())}
        images |= {*saw, *trained_on_data({"weights": name})}
    return rewards, images


def _inputs(options: TrainOptions, suite: Suite, scorers: list[str], data: TrainingData) -> dict[str, Any]:
    """What the names in the suite and on the command line stand for, so that a changed suite is another training."""
    from bench.models.weights import digest_of
    from bench.scoring.identity import scope_of

    return {
        "model": {**suite.model.model_dump(mode="json"), "weights": digest_of(suite.model.weights)},
        "start": digest_of(options.init) if options.init else None,
        "sampler": suite.sampler.model_dump(mode="json"),
        "resolution": suite.resolution,
        "scorers": {name: scope_of(name, suite.metrics.get(name, MetricSpec()), suite).digest for name in scorers},
        "pictures or captions": data.listing(),
        **({"picture rule": RULE} if options.data is not None and options.objective in NEED_PICTURES else {}),
    }


def _as_json(value: Any) -> Any:
    """Tuples as the lists that they are when read back from JSON."""
    if isinstance(value, dict):
        return {key: _as_json(inner) for key, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, list | tuple) else value
