"""How each objective is trained when the command line does not say: as published, or as fits the embedded world.

`official` repeats what the ImageReFL paper's code does (github.com/ControlGenAI/ImageReFL, src/trainer and
src/configs), its two slips included; `corrected` is the same without them. docs/training.md lists the differences.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from bench.errors import UsageError, unknown
from bench.training.options import TrainOptions

OPTIMISERS = ("adamw", "adam", "adamw8bit")
PRECISIONS = ("float32", "bfloat16", "float16")
REWARD_LOSS_NAMES = ("linear", "hinge")
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
LEARN = ("all", "norms", "attention", "cross_attention")
ACCUMULATE = ("mean", "sum")
FITS = ("crop", "squash")
ORDERS = ("replacement", "shuffled")
CAPTIONS = ("any", "first")
_CHOICES = {
    "optimiser": OPTIMISERS,
    "precision": PRECISIONS,
    "reward_loss": REWARD_LOSS_NAMES,
    "learn": LEARN,
    "accumulate": ACCUMULATE,
    "fit": FITS,
    "order": ORDERS,
    "captions": CAPTIONS,
}


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Settings of one training.

    Places are steps of the sampler's T: `start_step` is s (where noised real images enter), `grad_steps` = (first,
    last) the closed range from which the step with gradient, m, is drawn, `last_steps` DRaFT's K, `copies` the
    re-noised copies of DRaFT-LV. An update averages `accumulation` batches of `batch_size` (on each process).
    Weights of ImageReFL's regularisers: `diffusion_weight`, `clip_weight` (with the image tower of the metric
    `clip_metric`), `kl_weight`, `l2_weight`; every `refl_every`-th batch is plain ReFL instead. `guidance` is of the
    training's own steps (1: none), `clip` the largest gradient norm (0: no limit), `ema` the decay of the averaged
    weights (0: none), `lora_rank` trains a LoRA instead of all weights. `double_update` and `off_by_one` are the slips
    of the official code.
    """

    steps: int
    learning_rate: float
    batch_size: int
    accumulation: int = 1
    start_step: int = 30
    grad_steps: tuple[int, int] = (30, 39)
    last_steps: int = 1
    copies: int = 0
    reward_loss: str = "linear"
    guidance: float = 1.0
    diffusion_weight: float = 0.01
    clip_weight: float = 0.0
    clip_metric: str = "clip_score"
    kl_weight: float = 0.0
    l2_weight: float = 0.0
    refl_every: int = 0
    optimiser: str = "adamw"
    weight_decay: float = 1e-2
    clip: float = 1.0
    schedule: str = "constant"
    warmup: int = 0
    ema: float = 0.0
    precision: str = "float32"
    checkpointing: bool = False
    lora_rank: int = 0
    lora_alpha: float = 0.0
    lora_targets: tuple[str, ...] = LORA_TARGETS
    double_update: bool = False
    off_by_one: bool = False
    learn: str = "all"
    accumulate: str = "mean"
    refl_terms: bool = False
    fit: str = "crop"
    order: str = "replacement"
    captions: str = "any"
    save_every: int = 100
    probe_prompts: int = 4
    probe_samples: int = 4


_CORRECTED = {
    "base": TrainRecipe(steps=10_000, learning_rate=1e-4, batch_size=32),
    "refl": TrainRecipe(steps=2_000, learning_rate=3e-4, batch_size=8, accumulation=4, precision="bfloat16"),
    "draft": TrainRecipe(steps=2_000, learning_rate=3e-4, batch_size=8, accumulation=4, precision="bfloat16"),
    "imagerefl": TrainRecipe(
        steps=4_000,
        learning_rate=3e-4,
        batch_size=8,
        accumulation=4,
        precision="bfloat16",
        optimiser="adam",
        weight_decay=0.0,
    ),
}
"""The configurations of the paper's code: 20 x 100 (20 x 200) iterations of 8 x 4 images, one update each."""

_OFFICIAL = {
    name: replace(
        recipe,
        clip=0.0,
        double_update=name != "base",
        off_by_one=name == "imagerefl",
        accumulate="sum",
        refl_terms=name == "imagerefl",
        fit="squash",
        order="shuffled",
        captions="first",
    )
    for name, recipe in _CORRECTED.items()
}
_OFFICIAL_NORMS = {name: replace(recipe, learn="norms") for name, recipe in _OFFICIAL.items()}
"""The same program run with torch 2.5 to 2.7, whose autocast cache leaves gradients to normalisation layers alone."""

_SHAPES = {
    "base": TrainRecipe(steps=2_000, learning_rate=5e-4, batch_size=64),
    "refl": TrainRecipe(steps=250, learning_rate=3e-4, batch_size=16, save_every=50),
    "draft": TrainRecipe(steps=250, learning_rate=3e-4, batch_size=16, save_every=50),
    "imagerefl": TrainRecipe(steps=120, learning_rate=2e-4, batch_size=16, save_every=50),
}

PRESETS = {"official": _OFFICIAL, "official-norms": _OFFICIAL_NORMS, "corrected": _CORRECTED, "shapes": _SHAPES}


def recipe_for(options: TrainOptions, label: str | None) -> TrainRecipe:
    """The preset's recipe with what the options say put in; without a preset the one that fits the suite's label.

    Raises UsageError for an unknown preset or setting, or a value of the wrong kind or out of range.
    """
    preset = options.preset or ("shapes" if label == "shapes" else "corrected")
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    given: dict[str, Any] = {
        "steps": options.steps,
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "lora_rank": options.lora_rank,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    for key, text in options.settings.items():
        if key in changes:
            raise UsageError(f"{key} is given twice: omit --set {key}")
        changes[key] = _value(key, text)
    recipe = replace(PRESETS[preset][options.objective], **changes)
    _check(recipe)
    return recipe


def _value(key: str, text: str) -> Any:
    """The text of a setting as the kind of value that the field holds."""
    known = {field.name: field for field in fields(TrainRecipe)}
    if key not in known:
        raise unknown("setting of the recipe", key, known)
    kind = str(known[key].type)
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "tuple[int, int]":
            first, _, last = text.partition("-")
            return int(first), int(last or first)
        if kind.startswith("tuple"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return {"int": int, "float": float, "str": str}[kind](text)
    except (ValueError, KeyError):
        wanted = {"bool": "true or false", "int": "an integer", "float": "a number"}.get(kind, "a range like 30-39")
        raise UsageError(f"--set {key} must be {wanted}, got '{text}'") from None


def _check(recipe: TrainRecipe) -> None:
    """UsageError for the first value that cannot be, whatever the suite."""
    least = {"steps": 1, "batch_size": 1, "accumulation": 1, "last_steps": 1, "save_every": 1}
    for name in ("copies", "refl_every", "warmup", "lora_rank", "probe_prompts", "probe_samples", "start_step"):
        least[name] = 0
    for name, low in least.items():
        if getattr(recipe, name) < low:
            raise UsageError(f"{name} must be at least {low}, got {getattr(recipe, name)}")
    weights = ("diffusion_weight", "clip_weight", "kl_weight", "l2_weight")
    for name in ("learning_rate", *weights, "weight_decay", "clip", "lora_alpha"):
        value = getattr(recipe, name)
        if not 0 <= value < float("inf") or (name == "learning_rate" and value == 0):
            bound, option = ("above 0", " (--learning-rate)") if name == "learning_rate" else ("at least 0", "")
            raise UsageError(f"{name} must be {bound}, got {value:g}{option}")
    if not 0 <= recipe.ema < 1:
        raise UsageError(f"ema must be in 0..1 (1 excluded), got {recipe.ema:g}")
    if not 1 <= recipe.guidance < float("inf"):
        raise UsageError(f"guidance must be at least 1 (1 means none), got {recipe.guidance:g}")
    for name, choices in _CHOICES.items():
        if getattr(recipe, name) not in choices:
            raise unknown(name, getattr(recipe, name), choices)
    if recipe.lora_rank and recipe.learn != "all":
        raise UsageError(
            f"learn={recipe.learn} chooses among the network's own weights, but with --lora-rank only the LoRA learns: "
            "omit one of the two (--set lora_targets=... chooses the LoRA's layers)"
        )


def check_official(options: TrainOptions, suite: str, label: str | None) -> None:
    """UsageError where an official preset would train on the prompts that the suite is judged by.

    The official code reads captions of a set of its own; without --data there are only the suite's prompts. The
    embedded suite draws new captions.
    """
    if (options.preset or "").startswith("official") and options.data is None and label != "shapes":
        raise UsageError(
            f"--preset {options.preset} needs --data: the official trainer reads captions of its own set, and without "
            f"--data {options.objective} would train on the evaluation prompts of suite '{suite}'; give --data, or "
            "--preset corrected to train on those prompts all the same"
        )


def check_step_indices(recipe: TrainRecipe, objective: str, total: int, suite: str) -> None:
    """UsageError if a place of the recipe is not one of the sampler's `total` steps, or s lies past m."""
    first, last = recipe.grad_steps
    used = {
        "base": [],
        "refl": [("grad_steps", first), ("grad_steps", last)],
        "draft": [("last_steps", recipe.last_steps - 1)],
        "imagerefl": [("start_step", recipe.start_step), ("grad_steps", first), ("grad_steps", last)],
    }[objective]
    for name, index in used:
        if not 0 <= index < total:
            shown = index + 1 if name == "last_steps" else index
            raise UsageError(
                f"{name} {shown} is outside the {total} steps of suite '{suite}' (0..{total - 1}): "
                f"give --set {name}=..., or a suite with more sampler.steps"
            )
    if objective in ("refl", "imagerefl") and first > last:
        raise UsageError(f"grad_steps {first}-{last} is an empty range: write the smaller step first")
    if objective == "imagerefl" and recipe.start_step > last:
        raise UsageError(
            f"start_step {recipe.start_step} is after the last step with gradient, {last}, but real images must enter "
            "before it: lower --set start_step or raise --set grad_steps"
        )
