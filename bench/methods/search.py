"""Methods that make several candidates of each image and keep the one that a reward likes best. Pure data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from bench.errors import UsageError

Kind = Literal["best_of_n", "zero_order"]
FIELDS: dict[str, tuple[str, ...]] = {
    "best_of_n": ("n", "reward"),
    "zero_order": ("n", "reward", "rounds", "radius"),
}
ALL_FIELDS = FIELDS["zero_order"]
MOST_CANDIDATES = 10_000


@dataclass(frozen=True, slots=True)
class Search:
    """How candidates are made; each is generated, decoded and scored in full, and counts in the cost.

    best_of_n: `n` candidates from noise of their own; the first is the image that the method makes without searching.
    zero_order: then `rounds` times `n` more around the best initial noise z so far, (z + `radius` e) / sqrt(1 +
    `radius` squared) with e standard normal, while the noise of the steps stays (Ma et al. 2025, arXiv 2501.09732).
    `reward` is an image metric of the suite: the method's values of it are marked as trained on.
    """

    kind: Kind
    n: int = 4
    reward: str | None = None
    rounds: int = 0
    radius: float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("n", 2), ("rounds", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= MOST_CANDIDATES:
                raise UsageError(f"{name} of a search must be an integer from {low} to {MOST_CANDIDATES}, got {value}")
        if not 0 <= float(self.radius) < math.inf:
            raise UsageError(f"radius of a search must be a number of at least 0, got {self.radius}")

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the settings that a search of this kind has."""
        return FIELDS[self.kind]

    @property
    def candidates(self) -> int:
        """Images that are generated for each one that is kept."""
        return self.n * (1 + self.rounds)

    def check(self, method: str, suite: Any) -> None:
        """Raise UsageError for a reward that is no image metric of the suite."""
        import metrics

        known = [one for one in specs_of(suite) if metrics.info(one).kind == metrics.Kind.IMAGE]
        if self.reward is None:
            raise UsageError(
                f"method '{method}' needs the reward that it chooses by: pass it with `--set reward=METRIC`, one of "
                f"{', '.join(known)}"
            )
        if self.reward not in known:
            raise UsageError(
                f"method '{method}': its reward '{self.reward}' must be an image metric of suite '{suite.name}': "
                f"{', '.join(known)}"
            )

    def identity(self, suite: Any, digests: Mapping[str, str]) -> dict[str, Any]:
        """The settings as plain JSON data, with what decides the reward's values: its version, weights and options."""
        import metrics

        reward = str(self.reward)
        spec, facts = specs_of(suite)[reward], metrics.info(reward)
        named = {key: spec.options[key] for key in facts.weight_options if isinstance(spec.options.get(key), str)}
        # The defaults are not named: searches by them stay the runs that they were.
        precision = {"reward_dtype": spec.dtype} if spec.dtype != "float32" else {}
        precision |= {"reward_tf32": True} if spec.tf32 else {}
        return self.to_dict() | {
            "reward_version": facts.version,
            "reward_weights": None if spec.weights is None else digests.get(spec.weights, spec.weights),
            "reward_options": dict(spec.options) | {key: digests.get(name, name) for key, name in named.items()},
            **precision,
        }

    def weights(self, suite: Any) -> list[str]:
        """The weights names of the reward in the suite: its own, and those among its options."""
        import metrics

        spec = specs_of(suite).get(str(self.reward))
        if spec is None:
            return []
        options = [spec.options.get(key) for key in metrics.info(str(self.reward)).weight_options]
        return [name for name in (spec.weights, *options) if isinstance(name, str)]

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON data, for the manifest."""
        return {"kind": self.kind} | {name: getattr(self, name) for name in self.fields}


def specs_of(suite: Any) -> dict[str, Any]:
    """How the suite's metrics are scored, those included that a call left out."""
    return {**suite.unselected, **suite.metrics}
