"""What a guider makes of one step of one side. Pure data: no model, no tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Projected:
    """Adaptive projected guidance; `momentum` makes a step depend on those before it."""

    eta: float
    momentum: float
    norm_threshold: float
    evaluations: int = 2


@dataclass(frozen=True, slots=True)
class ZeroStar:
    """CFG-Zero*: the prediction is 0 and nothing is evaluated (`zero`), or the unconditional one is scaled to fit."""

    zero: bool

    @property
    def evaluations(self) -> int:
        """Single-sample network forwards."""
        return 0 if self.zero else 2


@dataclass(frozen=True, slots=True)
class Weaker:
    """Autoguidance: away from the prediction of the network `weak`."""

    weak: str
    evaluations: int = 2


@dataclass(frozen=True, slots=True)
class NoisyPrompt:
    """CADS: the prompt's states are mixed with noise; how often networks are evaluated stays what it is (None)."""

    gamma: float
    noise_scale: float
    psi: float
    evaluations: None = None


@dataclass(frozen=True, slots=True)
class Taylor:
    """TaylorSeer: the attention layers run at this step (`offset` 0), or are extrapolated from `offset` steps ago.

    `order` is the highest of the polynomial, `gap` the steps between the last two times that they ran; None: they ran
    once.
    """

    order: int
    offset: int
    gap: int | None


Rule = Projected | ZeroStar | Weaker | NoisyPrompt
