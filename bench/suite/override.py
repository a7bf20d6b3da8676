"""The table of a method in a suite's file, and the types of values that tables share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.methods.coupling import Kind as CouplingKind
from bench.methods.guider import Kind

MOST_STEPS = 100_000
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Positive = Annotated[Number, Field(ge=0)]
Weight = Annotated[Number, Field(ge=0, le=1)]
Guidance = Annotated[Number, Field(ge=1)]
Prompt = Annotated[str, Field(strict=True)]
Skip = Annotated[Whole, Field(ge=1)]


class Part(BaseModel):
    """A table: frozen, and without keys that are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodOverride(Part):
    """What a suite says about a method of the catalogue, or (with `like`) a method that it adds.

    `replicates` are the checkpoints of the same training with other seeds, `weights` the one of them that is run by
    itself (default: the first).
    """

    like: Text | None = None
    title: Text | None = None
    weights: Text | None = None
    replicates: tuple[Text, ...] = ()
    schedule: Literal["constant", "step", "reversed_step", "linear", "power", "sigmoid", "table"] | None = None
    switch_step: Annotated[Whole, Field(ge=0)] | None = None
    value: Weight | None = None
    power: Annotated[Number, Field(gt=0)] | None = None
    centre: Number | None = None
    sharpness: Number | None = None
    table: tuple[Weight, ...] | None = None
    base_guidance: Guidance | None = None
    tuned_guidance: Guidance | None = None
    lora_scale: Annotated[Number, Field(gt=0)] | None = None
    negative_prompt: Prompt | None = None
    guidance_rescale: Weight | None = None
    clip_skip: Skip | None = None
    embeddings: dict[str, Text] = {}
    text_encoder: Literal["ignore"] | None = None
    trained_on: tuple[Text, ...] | None = None
    trained_on_data: tuple[Text, ...] | None = None
    guider: Kind | None = None
    start: Weight | None = None
    stop: Weight | None = None
    eta: Annotated[Number, Field(ge=0)] | None = None
    momentum: Annotated[Number, Field(ge=-1, le=1)] | None = None
    norm_threshold: Annotated[Number, Field(ge=0)] | None = None
    zero_init_steps: Annotated[Whole, Field(ge=0)] | None = None
    tau1: Weight | None = None
    tau2: Weight | None = None
    noise_scale: Annotated[Number, Field(ge=0)] | None = None
    psi: Weight | None = None
    weak: Text | None = None
    soup: tuple[Text, ...] | None = None
    ratios: tuple[Number, ...] | None = None
    ratio: Number | None = None
    steps: Annotated[Whole, Field(ge=1, le=MOST_STEPS)] | None = None
    precision: Literal["int8"] | None = None
    cache_interval: Annotated[Whole, Field(ge=1)] | None = None
    threshold: Positive | None = None
    taylor_interval: Annotated[Whole, Field(ge=1)] | None = None
    taylor_order: Annotated[Whole, Field(ge=0)] | None = None
    taylor_warmup: Annotated[Whole, Field(ge=1)] | None = None
    coupling: CouplingKind | None = None
    repulsion: Positive | None = None
    bandwidth: Annotated[Number, Field(gt=0)] | None = None
    least_noise: Positive | None = None
    shield: Positive | None = None
    overshoot: Positive | None = None
    n: Whole | None = None
    reward: Text | None = None
    rounds: Whole | None = None
    radius: Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _first_replicate(cls, data: Any) -> Any:
        named = data.get("replicates") if isinstance(data, dict) else None
        if data and isinstance(named, list | tuple) and named and data.get("weights") is None:
            return {**data, "weights": named[0]}
        return data

    @model_validator(mode="after")
    def _several_replicates(self) -> MethodOverride:
        twice = next((one for one in self.replicates if self.replicates.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"names the replicate '{twice}' twice: each is the checkpoint of another training seed")
        if len(self.replicates) == 1:
            raise ValueError("has one replicate: name two checkpoints or more, or write it as weights")
        if self.replicates and self.weights not in self.replicates:
            raise ValueError(f"has weights '{self.weights}', which must be one of its replicates")
        return self
