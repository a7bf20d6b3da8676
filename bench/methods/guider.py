"""How guidance is applied at each step: plainly, in an interval, projected, towards a weaker network, ... Pure data.

A guider changes the sides of a method that run with guidance; `cads` changes the prompt's states of all sides. The
arithmetic is in `bench.sampling.guiding`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from bench.errors import MissingError, UsageError
from bench.registry.families import family_row

Kind = Literal["cfg", "interval", "apg", "autoguidance", "cfg_zero_star", "cads"]

# kind -> its settings, in the order they are printed.
FIELDS: dict[str, tuple[str, ...]] = {
    "cfg": (),
    "interval": ("start", "stop"),
    "apg": ("eta", "momentum", "norm_threshold", "start", "stop"),
    "autoguidance": ("weak", "start", "stop"),
    "cfg_zero_star": ("zero_init_steps", "start", "stop"),
    "cads": ("tau1", "tau2", "noise_scale", "psi"),
}
ALL_FIELDS = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))
_RANGES: dict[str, tuple[float, float]] = {
    "start": (0.0, 1.0),
    "stop": (0.0, 1.0),
    "eta": (0.0, math.inf),
    "momentum": (-1.0, 1.0),
    "norm_threshold": (0.0, math.inf),
    "zero_init_steps": (0, math.inf),
    "tau1": (0.0, 1.0),
    "tau2": (0.0, 1.0),
    "noise_scale": (0.0, math.inf),
    "psi": (0.0, 1.0),
}
SKIP = "skip:"
"""A weak network that is the side's own without some of its transformer blocks: "skip:PATH.TO.BLOCKS:0,1"."""


@dataclass(frozen=True, slots=True)
class Guider:
    """How classifier-free guidance of scale s is applied. Fractions are of the T denoising steps, 0 the noisiest.

    cfg: without + s (with - without), at every step.
    interval: so for the steps int(`start` T) <= i < int(`stop` T), and the conditional prediction alone at the others
    (Kynkaanniemi et al. 2024, arXiv 2404.07724, who state the interval in noise levels).
    apg: the difference with - without is averaged over steps with `momentum`, shortened to the norm `norm_threshold`
    (0: left as it is), and of its part parallel to the conditional prediction only `eta` is kept (Sadat et al. 2024,
    arXiv 2410.02416).
    autoguidance: weak + s (strong - weak), both with the prompt; `weak` names the weights of a weaker network, or
    "skip:PATH:0,1" the side's own network without these blocks of the list at PATH (Karras et al. 2024, arXiv
    2406.02507).
    cfg_zero_star: the prediction without the prompt is scaled to fit the one with it, and the first `zero_init_steps`
    predictions are 0 (Fan et al. 2025, arXiv 2503.18886).
    cads: the prompt's states get noise, sqrt(g) y + `noise_scale` sqrt(1 - g) n, with g falling from 1 to 0 while the
    fraction of noise left, 1 - i / T, rises from `tau1` to `tau2`; their mean and deviation are restored by the share
    `psi` (Sadat et al. 2024, arXiv 2310.17347).
    """

    kind: Kind = "cfg"
    start: float | None = None
    stop: float | None = None
    eta: float | None = None
    momentum: float | None = None
    norm_threshold: float | None = None
    zero_init_steps: int | None = None
    tau1: float | None = None
    tau2: float | None = None
    noise_scale: float | None = None
    psi: float | None = None
    weak: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"guider '{self.kind}' is not one of {', '.join(get_args(Kind))}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            wanted, what = (Integral, "an integer") if name == "zero_init_steps" else (Real, "a number")
            if isinstance(value, bool) or not isinstance(value, wanted) or not math.isfinite(float(value)):
                raise UsageError(f"{name} of a guider must be {what}, got {value!r}")
            if not low <= float(value) <= high:
                limits = f"in {low:g}..{high:g}" if math.isfinite(high) else f"at least {low:g}"
                raise UsageError(f"{name} of a guider must be {limits}, got {value:g}")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the settings that a guider of this kind has."""
        return FIELDS[self.kind]

    @property
    def plain(self) -> bool:
        """Whether this is classifier-free guidance at every step."""
        return self.kind == "cfg"

    @property
    def weak_weights(self) -> str | None:
        """The weights name of the weak network; None without one, or where blocks of the side's own are left out."""
        return None if self.weak is None or self.weak.startswith(SKIP) else self.weak

    @property
    def skipped(self) -> tuple[str, tuple[int, ...]] | None:
        """(path of the list of blocks, indices) that the weak network leaves out. Raises UsageError when misspelt."""
        if self.weak is None or not self.weak.startswith(SKIP):
            return None
        path, _, indices = self.weak.removeprefix(SKIP).rpartition(":")
        try:
            numbers = tuple(sorted({int(one) for one in indices.split(",")}))
        except ValueError:
            numbers = ()
        if not path or not numbers or numbers[0] < 0:
            raise UsageError(
                f"weak = '{self.weak}' must name a list of blocks and indices in it, such as "
                "'skip:mid_block.attentions.0.transformer_blocks:0' or 'skip:transformer_blocks:7,8'"
            )
        return path, numbers

    def acts(self, step: int, steps: int) -> bool:
        """Whether guidance is on at this step; the limits are rounded down, as in diffusers."""
        if self.start is None or self.stop is None:
            return True
        return int(self.start * steps) <= step < int(self.stop * steps)

    def gamma(self, step: int, steps: int) -> float:
        """CADS: the share of the prompt's states that is kept, in [0, 1]; 1 is all."""
        low, high, left = float(self.tau1 or 0.0), float(self.tau2 or 0.0), 1.0 - step / steps
        if left <= low:
            return 1.0
        return 0.0 if left >= high else (high - left) / (high - low)

    def check(self, method: str, guidances: Collection[float], steps: int) -> None:
        """Raise UsageError when a setting is absent or does not fit the others, the steps or the method's guidance."""
        for name in self.fields:
            if getattr(self, name) is None:
                error = MissingError if name == "weak" else UsageError
                raise error(f"method '{method}': guider '{self.kind}' needs {name}: {_how_to_give(name)}")
        if "start" in self.fields and not any(self.acts(step, steps) for step in range(steps)):
            raise UsageError(
                f"method '{method}': no step of {steps} lies in start = {self.start:g} .. stop = {self.stop:g}"
            )
        if self.kind == "cads" and not float(self.tau1 or 0) < float(self.tau2 or 0):
            raise UsageError(f"method '{method}': tau1 must be below tau2, got {self.tau1:g} and {self.tau2:g}")
        if self.zero_init_steps is not None and self.zero_init_steps >= steps:
            raise UsageError(f"method '{method}': zero_init_steps must be below the {steps} steps of the suite")
        if self.kind not in ("cfg", "cads") and not any(value > 1.0 for value in guidances):
            raise UsageError(
                f"method '{method}' is a way of guidance, but runs without any (guidance 1): set base_guidance above 1"
            )
        if self.skipped is not None and sum(value > 1.0 for value in guidances) > 1:
            raise UsageError(
                f"method '{method}': weak = '{self.weak}' leaves out blocks of one side's network, but both sides have "
                "guidance: set base_guidance or tuned_guidance to 1, or name a weaker checkpoint as weak"
            )

    def check_family(self, method: str, family: str, true_cfg: bool = False) -> None:
        """UsageError for a model family whose guidance this cannot be.

        A distilled family has no prediction without the prompt unless `true_cfg` is set; a plug-in's is not known.
        Families without guiders are not for CADS either: their prompts' states are as long as the batch's longest one.
        """
        row = family_row(family)
        if self.plain or row is None:
            return
        if row.distilled and not true_cfg and self.kind != "cads":
            raise UsageError(
                f"method '{method}': {self.kind} needs classifier-free guidance, and family '{family}' is "
                "guidance-distilled: leave the method out, or set model.true_cfg = true and a guidance above 1"
            )
        if not row.guiders and self.kind != "interval":
            raise UsageError(f"method '{method}': {self.kind} is not supported for models of family '{family}'")

    def identity(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """The settings as plain JSON data, with the digest of a weak network in place of its weights name."""
        said: dict[str, Any] = {"kind": self.kind} | {name: getattr(self, name) for name in self.fields}
        if self.weak_weights is not None:
            said["weak"] = digests[self.weak_weights]
        return said

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON data, for the manifest."""
        return {"kind": self.kind} | {name: getattr(self, name) for name in self.fields}


def _how_to_give(name: str) -> str:
    if name == "weak":
        return (
            "pass a weaker checkpoint with `--set weak=PATH_OR_HUB_ID`, or blocks to leave out, `--set weak=skip:...`"
        )
    return f"pass it with `--set {name}=...`"


PLAIN = Guider()
"""Classifier-free guidance at every step."""
