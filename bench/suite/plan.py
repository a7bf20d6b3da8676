"""What a run will make: pure, from a suite, methods and prompts to identities and items. Nothing is read or written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prompts as prompt_sets
from bench.errors import UsageError
from bench.methods.catalogue import Method
from bench.methods.conditions import conditions_of
from bench.methods.method import ACCELERATION
from bench.methods.schedule import number_text
from bench.registry.families import FAMILIES, GUIDANCE_RULES
from bench.suite.resolve import short_weights
from bench.suite.schema import MOST_IMAGES
from prompts import Prompt

if TYPE_CHECKING:
    from bench.suite.schema import Suite

# Raised whenever the code itself begins to draw other pixels from the same inputs.
SAMPLING_VERSION = 1


FUSED = "fused"
"""Key of an identity: the LoRA is fused into the weights."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image to make."""

    prompt_id: str
    prompt: str
    sample: int

    @property
    def key(self) -> tuple[str, int]:
        """What an image row is found by."""
        return (self.prompt_id, self.sample)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One method's run: `identity` is exactly what changes its pixels, and `hash8` is made from it."""

    method: Method
    hash8: str
    identity: dict[str, Any]
    prompts: tuple[Prompt, ...]
    samples: int

    @property
    def name(self) -> str:
        """The run's name and its folder's: `<method>@<hash8>`."""
        return f"{self.method.safe_name}@{self.hash8}"

    @property
    def items(self) -> tuple[Item, ...]:
        """All images of the run: prompts in their order, samples 0..K-1 of each."""
        return tuple(Item(prompt.id, prompt.text, k) for prompt in self.prompts for k in range(self.samples))

    @property
    def group(self) -> int:
        """Images of a prompt that are made as one unit: all of them where they push each other apart, else 1."""
        return self.samples if self.method.coupling is not None else 1

    def missing(self, have: Container[tuple[str, int]]) -> tuple[Item, ...]:
        """The items whose (prompt id, sample) is not in `have`."""
        return tuple(item for item in self.items if item.key not in have)


def make_plan(
    suite: Suite,
    methods: Sequence[Method],
    prompts: Sequence[Prompt],
    digests: Mapping[str, str],
    loaders: Mapping[str, int] | None = None,
    adapters: Container[str] = (),
) -> list[RunPlan]:
    """One plan per method, in order. The suite's limit cuts the prompts.

    `digests` maps the weights names of the suite and of the methods to digests (`bench.models.weights.digest_of`),
    `loaders` those that older versions read otherwise to a version (`bench.models.reading.loader_versions`);
    `adapters` are those that are LoRAs, where the suite has them fused (`bench.models.reading.to_fuse`).
    Raises UsageError when nothing is left to do, or for settings that do not fit the number of steps.
    """
    chosen = tuple(prompts[: suite.limit])
    if not chosen:
        raise UsageError("there are no prompts to evaluate")
    if not methods:
        raise UsageError("there are no methods to evaluate")
    if len(chosen) * suite.samples > MOST_IMAGES:
        raise UsageError(
            f"{len(chosen):,} prompts x {suite.samples:,} samples are more than {MOST_IMAGES:,} images: lower "
            "--samples or --limit"
        )
    plans = []
    for method in (with_digest(method, digests) for method in methods):
        identity = identity_of(suite, method, chosen, digests) | _loader_version(suite, method, loaders or {})
        if is_fused(suite, method, adapters):
            identity[FUSED] = True  # one product where there were three: the last bits of sums differ
        plans.append(RunPlan(method, hash8(identity), identity, chosen, suite.samples))
    return list({plan.name: plan for plan in plans}.values())


def with_digest(method: Method, digests: Mapping[str, str]) -> Method:
    """The method whose name also has the digest of a local checkpoint that was given with --set weights=.

    The last part of a path is "unet" or "model.safetensors" for most.
    """
    weights = dict(method.settings).get("weights")
    short = None if weights is None else short_weights(weights)
    if weights is None or short == weights.partition("#")[0] or weights not in digests:
        return method
    named = f"weights={short}"
    return dataclasses.replace(method, name=method.name.replace(named, f"{named}-{digests[weights][:8]}", 1))


def identity_of(suite: Suite, method: Method, prompts: Sequence[Prompt], digests: Mapping[str, str]) -> dict[str, Any]:
    """Exactly what changes the pixels of a run; device, batch size, number of samples and paths are not in it.

    The side that a schedule never runs (w = 0 or w = 1 everywhere) leaves neither its weights nor its guidance in it.
    """
    weights = method.weights_at(suite.sampler.steps)
    guidance = guidance_of(suite, method)
    if "tuned" in guidance and method.weights is None:
        raise UsageError(f"method '{method.name}' has no weights")
    # Only where it is said, so that the identities of all other runs stay what they were.
    embedded, family = suite.model.embedded_guidance, suite.model.family
    said: dict[str, Any] = {} if embedded is None else {"embedded_guidance": float(embedded)}
    if max(guidance.values()) > 1.0:
        rules = {name: getattr(suite.model, name) for name in GUIDANCE_RULES}
        said |= {name: float(value) for name, value in rules.items() if value not in (None, GUIDANCE_RULES[name])}
    if conditions := conditions_identity(suite, method, digests):
        said["conditions"] = conditions
    if suite.compile:
        said["compile"] = True  # other kernels: the last bits of sums differ
    if not method.guider.plain:
        said["guider"] = method.guider.identity(digests)
    said |= {name: value for name in ACCELERATION if (value := getattr(method, name)) is not None}
    if method.coupling is not None:
        said["coupling"] = method.coupling.identity(suite.samples)
    if method.search is not None:
        said["search"] = method.search.identity(suite, digests)
    return (
        ({} if FAMILIES.is_builtin(family) else {"family": family})
        | said
        | {
            "sampling_version": SAMPLING_VERSION,
            "model": _base_digest(suite, guidance, digests),
            "tuned": _tuned(method, digests) if "tuned" in guidance else None,
            "guidance": guidance,
            # Powers may differ in the last bit between platforms; that is no other schedule.
            "schedule": [round(weight, 12) for weight in weights],
            "sampler": suite.sampler.model_dump(mode="json"),
            "seed": suite.seed,
            "resolution": suite.resolution,
            "dtype": suite.dtype,
            "prompts": prompt_sets.digest(prompts),
        }
    )


def _base_digest(suite: Suite, guidance: Container[str], digests: Mapping[str, str]) -> str | None:
    """The digest of the base weights; of a model that a server runs, only where the method runs the base model."""
    return None if suite.model.endpoint is not None and "base" not in guidance else digests[suite.model.weights]


def guidance_of(suite: Suite, method: Method) -> dict[str, float]:
    """The guidance of each side that a method runs."""
    weights = method.weights_at(suite.sampler.steps)
    guidance: dict[str, float] = {}
    if any(weight < 1.0 for weight in weights):
        guidance["base"] = _or(method.base_guidance, suite.guidance)
    if any(weight > 0.0 for weight in weights):
        guidance["tuned"] = _or(method.tuned_guidance, suite.guidance)
    return guidance


def is_fused(suite: Suite, method: Method, adapters: Container[str]) -> bool:
    """Whether a method's weights run as a LoRA that is fused: its schedule runs the tuned network alone.

    Where both networks run, the LoRA is switched on and off from step to step; averages and weights of 8 bits have it
    in them already.
    """
    alone = suite.fuse_lora and method.weights in adapters and guidance_of(suite, method).keys() == {"tuned"}
    return alone and not method.parts and method.precision is None


def conditions_identity(suite: Suite, method: Method, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The prompt conditions that act on each side; a side without any is not in it."""
    conditions = conditions_of(suite, method)
    sides = {side: conditions.on_side(value) for side, value in guidance_of(suite, method).items()}
    return {side: found for side, one in sides.items() if (found := one.identity(digests))}


def _loader_version(suite: Suite, method: Method, loaders: Mapping[str, int]) -> dict[str, int]:
    """The version of how the weights of the sides that run are read, where it has changed."""
    names = {"base": suite.model.weights, "tuned": method.weights}
    used = [str(names[side]) for side in guidance_of(suite, method)]
    used += [name for name, _ in method.parts]
    used += [method.guider.weak_weights] if method.guider.weak_weights is not None else []
    found = [loaders[name] for name in used if name in loaders]
    return {"loader_version": max(found)} if found else {}


def _tuned(method: Method, digests: Mapping[str, str]) -> str:
    """The digest of the tuned weights, and how strongly a LoRA of them acts if that is not as it was trained.

    What is left out of them is said, where something is.
    """
    if method.parts:
        shares = "+".join(f"{digests[name]}*{number_text(share)}" for name, share in method.parts)
        return f"soup {shares}{how_read(method)}"
    return f"{digests[str(method.weights)]}{how_read(method)}"


def how_read(method: Method) -> str:
    """What a method's settings make of its tuned weights, as the end of their name; "" where nothing."""
    strength = "" if method.lora_scale == 1.0 else f"*{number_text(method.lora_scale)}"
    return strength + (" without text encoders" if method.text_encoder == "ignore" else "")


def hash8(identity: Mapping[str, Any]) -> str:
    """First 8 hex digits of the sha256 of the identity as canonical JSON (sorted keys, no spaces, ASCII)."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def same_pixels(identity_a: Mapping[str, Any], identity_b: Mapping[str, Any]) -> bool:
    """Whether a prompt and sample that two runs share has the same image in both: equal apart from the prompts."""
    a = {key: value for key, value in identity_a.items() if key != "prompts"}
    return a == {key: value for key, value in identity_b.items() if key != "prompts"}


def weights_names(suite: Suite, methods: Sequence[Method]) -> list[str]:
    """The weights names that `make_plan` needs digests of.

    The model's, those of sides that run, of weak networks and of textual inversions.
    """
    used = [
        method.weights
        for method in methods
        if method.weights is not None and any(method.weights_at(suite.sampler.steps))
    ]
    used += [name for method in methods for name, _ in method.parts]
    used += [name for method in methods for name in reward_weights(suite, method)]
    used += [method.guider.weak_weights for method in methods if method.guider.weak_weights is not None]
    embeddings = [weights for method in methods for _, weights in conditions_of(suite, method).embeddings]
    return list(dict.fromkeys([suite.model.weights, *used, *embeddings]))


def reward_weights(suite: Suite, method: Method) -> list[str]:
    """The local ones of the weights names of the reward that a method searches by: the hub's are read by name."""
    names = method.search.weights(suite) if method.search is not None else []
    return [name for name in names if name.startswith("shapes:") or Path(name.partition("#")[0]).expanduser().exists()]


def _or(guidance: float | None, default: float) -> float:
    return float(default if guidance is None else guidance)
