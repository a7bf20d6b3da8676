"""The weight w_i of the tuned network at each denoising step i = 0..T-1 (i = 0 is the noisiest).

    prediction_i = (1 - w_i) * base_i + w_i * tuned_i

One family holds every sampling method of the field: full replacement (w = 1), combined generation and ImageReFL (a
step), MixGRPO (the step reversed), annealed importance guidance (a power of i / T, arXiv 2409.06493), LoRA scaling (a
constant).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

from bench.errors import UsageError

Kind = Literal["constant", "step", "reversed_step", "linear", "power", "sigmoid", "table"]

# kind -> the fields it takes, in the order they are printed.
FIELDS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "step": ("switch_step",),
    "reversed_step": ("switch_step",),
    "linear": (),
    "power": ("power",),
    "sigmoid": ("centre", "sharpness"),
    "table": ("table",),
}


def number_text(value: float) -> str:
    """A number as it is written in names and identities: short, and never the same for two numbers."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How w_i depends on the step i of T.

    constant: `value`. step: 0 for i < `switch_step`, then 1. reversed_step: 1 for i < `switch_step`, then 0.
    linear: i / T. power: (i / T) ** `power`. sigmoid: 1 / (1 + exp(-`sharpness` * (i / T - `centre`))).
    table: the T values of `table`. All weights lie in [0, 1].
    """

    kind: Kind
    value: float | None = None
    switch_step: int | None = None
    power: float | None = None
    centre: float | None = None
    sharpness: float | None = None
    table: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"schedule kind '{self.kind}' is not one of {', '.join(get_args(Kind))}")
        for name in ("value", "power", "centre", "sharpness"):
            self._check_type(name, getattr(self, name), Real, "a number")
        self._check_type("switch_step", self.switch_step, Integral, "an integer")
        self._check_type("table", self.table, (tuple, list), "a list of numbers")
        for weight in self.table or ():
            self._check_type("table", weight, Real, "a list of numbers")

    def _check_type(self, name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise UsageError(f"{name} of a schedule of kind '{self.kind}' must be {what}, got {value!r}")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the settings that a schedule of this kind has."""
        return FIELDS[self.kind]

    def weights(self, steps: int) -> tuple[float, ...]:
        """w_0 .. w_{T-1} for T = `steps`, each in [0, 1]. Raises UsageError when a setting does not fit T."""
        self.check(steps)
        weight = self._weight(steps)
        return tuple(weight(i) for i in range(steps))

    def check(self, steps: int) -> None:
        """Raise UsageError when a setting is absent or out of its range for T = `steps`."""
        if steps < 1:
            raise UsageError(f"steps must be at least 1, got {steps}")
        for name in self.fields:
            if getattr(self, name) is None:
                raise UsageError(f"a schedule of kind '{self.kind}' needs {name}")
        if self.switch_step is not None and not 0 <= self.switch_step <= steps:
            raise UsageError(f"switch step {self.switch_step} is outside 0..{steps} (the suite takes {steps} steps)")
        if self.power is not None and not (math.isfinite(self.power) and self.power > 0):
            raise UsageError(f"power must be above 0, got {self.power:g}")
        if self.sharpness is not None and not math.isfinite(self.sharpness):
            raise UsageError(f"sharpness must be a finite number, got {self.sharpness:g}")
        if self.table is not None and len(self.table) != steps:
            raise UsageError(f"the table has {len(self.table)} weights, but the suite takes {steps} steps")
        for weight in (*(self.table or ()), *(() if self.value is None else (self.value,))):
            if not 0.0 <= weight <= 1.0:
                raise UsageError(f"a weight of the tuned network must be in 0..1, got {weight:g}")

    def _weight(self, steps: int) -> Callable[[int], float]:
        first, power, table = self.switch_step or 0, self.power or 1.0, self.table or ()
        centre, sharpness, value = self.centre or 0.0, self.sharpness or 0.0, float(self.value or 0.0)
        return {
            "constant": lambda i: value,
            "step": lambda i: float(i >= first),
            "reversed_step": lambda i: float(i < first),
            "linear": lambda i: i / steps,
            "power": lambda i: float((i / steps) ** power),
            "sigmoid": lambda i: _logistic(sharpness * (i / steps - centre)),
            "table": lambda i: float(table[i]),
        }[self.kind]


def _logistic(x: float) -> float:
    # math.exp overflows for large arguments: only ever take it of a negative one.
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
