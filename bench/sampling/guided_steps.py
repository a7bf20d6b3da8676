"""The steps of a method under its guider: how each step of each side is guided. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.sampling.rules import NoisyPrompt, Projected, Rule, Taylor, Weaker, ZeroStar
from bench.sampling.tree import Action, Side

if TYPE_CHECKING:
    from bench.methods.coupling import Coupling
    from bench.methods.guider import Guider


def with_guider(actions: Sequence[Action], guider: Guider, weak: str = "") -> tuple[Action, ...]:
    """The steps of a method under its guider; `weak` is what the weak network of autoguidance is called.

    Raises UsageError for a network that takes its guidance as an input: it has no second prediction to guide by.
    """
    if guider.plain:
        return tuple(actions)
    steps = len(actions)
    return tuple(
        tuple(_side(side, guider, step, steps, weak) for side in action) for step, action in enumerate(actions)
    )


def with_reuse(actions: Sequence[Action], interval: int | None) -> tuple[Action, ...]:
    """The steps with a UNet whose deep features are computed at steps 0, N, 2N, ... (DeepCache; None: at all).

    They are computed, too, where the step before ran another network, or other rows of it: then there are none to take.
    """
    if interval is None:
        return tuple(actions)
    made, before = [], frozenset[tuple[str, int]]()
    for step, action in enumerate(actions):
        found = [(side.network, side.evaluations) for side in action]
        made.append(
            tuple(
                dataclasses.replace(side, reuse="reuse" if step % interval and key in before else "keep")
                for side, key in zip(action, found, strict=True)
            )
        )
        before = frozenset(found)
    return tuple(made)


def with_block_cache(actions: Sequence[Action], threshold: float | None) -> tuple[Action, ...]:
    """The steps with a transformer that leaves out blocks by this threshold (FirstBlockCache; None: none)."""
    if threshold is None:
        return tuple(actions)
    return tuple(tuple(dataclasses.replace(side, threshold=threshold) for side in action) for action in actions)


def with_taylor(actions: Sequence[Action], interval: int | None, order: int, warmup: int) -> tuple[Action, ...]:
    """The steps with attention layers that run at some and are extrapolated at the others (TaylorSeer; None: all run).

    They run at the first `warmup` steps of a network, and then at every `interval`th from `warmup` + 1 on, as in
    diffusers. A network that ran no step before, or other rows of it, begins anew.
    """
    if interval is None:
        return tuple(actions)
    made: list[Action] = []
    before: dict[tuple[str, int], tuple[int, int]] = {}  # how many steps it ran without a break, and the last full one
    for action in actions:
        now, sides = {}, []
        for side in action:
            count, last = before.get((side.network, side.evaluations), (0, None))
            full = count < warmup or (count - warmup - 1) % interval == 0
            gap = count - last if full and last is not None else None
            sides.append(dataclasses.replace(side, taylor=Taylor(order, 0 if full else count - (last or 0), gap)))
            now[side.network, side.evaluations] = count + 1, count if full else last or 0
        made.append(tuple(sides))
        before = now
    return tuple(made)


def with_coupling(actions: Sequence[Action], coupling: Coupling | None) -> tuple[Action, ...]:
    """The steps of a method whose images of a prompt push each other apart (None: they do not)."""
    if coupling is None:
        return tuple(actions)
    return tuple(tuple(dataclasses.replace(side, coupling=coupling) for side in action) for action in actions)


def _side(side: Side, guider: Guider, step: int, steps: int, weak: str) -> Side:
    if guider.kind == "cads":
        gamma = guider.gamma(step, steps)
        rule = NoisyPrompt(gamma, float(guider.noise_scale or 0.0), float(guider.psi or 0.0))
        return side if gamma == 1.0 else dataclasses.replace(side, rule=rule)
    if side.guidance <= 1.0:
        return side
    if side.embedded:
        raise UsageError(
            f"{guider.kind} needs classifier-free guidance, but the network takes its guidance as an input (a latent "
            "consistency model): leave the method out"
        )
    zero = guider.kind == "cfg_zero_star" and step < int(guider.zero_init_steps or 0)
    if not (zero or guider.acts(step, steps)):
        return dataclasses.replace(side, guidance=1.0)
    return dataclasses.replace(side, rule=_rule(guider, zero, weak))


def _rule(guider: Guider, zero: bool, weak: str) -> Rule | None:
    if guider.kind == "apg":
        return Projected(float(guider.eta or 0.0), float(guider.momentum or 0.0), float(guider.norm_threshold or 0.0))
    if guider.kind == "cfg_zero_star":
        return ZeroStar(zero)
    return Weaker(weak) if guider.kind == "autoguidance" else None
