"""How each objective is trained when the command line does not say: as published, or as fits the embedded world."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.training.options import TrainOptions


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """Settings of one training.

    `steps` are optimiser updates, `start_step` is s (where noised real images enter), `grad_steps` = (first, last) is
    the closed range from which the step with gradient, m, is drawn; all are places in the sampler's T steps.
    """

    steps: int
    learning_rate: float
    batch_size: int
    start_step: int = 30
    grad_steps: tuple[int, int] = (30, 39)
    last_steps: int = 1
    diffusion_weight: float = 0.01
    weight_decay: float = 1e-2
    clip: float = 1.0
    save_every: int = 100


_PUBLISHED = {
    "base": TrainRecipe(steps=10_000, learning_rate=1e-4, batch_size=32),
    "refl": TrainRecipe(steps=2_000, learning_rate=3e-4, batch_size=32),
    "draft": TrainRecipe(steps=2_000, learning_rate=3e-4, batch_size=32),
    "imagerefl": TrainRecipe(steps=4_000, learning_rate=3e-4, batch_size=32),
}
"""From the configurations of the ImageReFL paper's code: 20 x 100 (20 x 200) iterations, batch 8 x 4 accumulated."""

_SHAPES = {
    "base": TrainRecipe(steps=2_000, learning_rate=5e-4, batch_size=64),
    "refl": TrainRecipe(steps=250, learning_rate=3e-4, batch_size=16, save_every=50),
    "draft": TrainRecipe(steps=250, learning_rate=3e-4, batch_size=16, save_every=50),
    "imagerefl": TrainRecipe(steps=120, learning_rate=2e-4, batch_size=16, save_every=50),
}


def recipe_for(options: TrainOptions, label: str | None) -> TrainRecipe:
    """The recipe of `options.objective` for a suite with this label, with what the options say put in."""
    recipe = (_SHAPES if label == "shapes" else _PUBLISHED)[options.objective]
    return replace(
        recipe,
        steps=recipe.steps if options.steps is None else options.steps,
        learning_rate=recipe.learning_rate if options.learning_rate is None else options.learning_rate,
        batch_size=recipe.batch_size if options.batch_size is None else options.batch_size,
    )
