"""A suite: what is evaluated. Read from TOML, frozen, and checked: every mistake is one sentence with its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from bench.errors import UsageError, unknown
from bench.formatting import is_safe_name
from bench.methods.conditions import NAMES
from bench.methods.guider import ALL_FIELDS
from bench.methods.method import ACCELERATION
from bench.methods.search import ALL_FIELDS as SEARCH
from bench.suite.metric_spec import DEFAULTS, MetricSpec, define_metric
from bench.suite.model_spec import ModelSpec
from bench.suite.override import MOST_STEPS, Guidance, MethodOverride, Part, Prompt, Skip, Text, Weight, Whole
from bench.suite.served import check_served, server_decides
from bench.suite.wording import sentence
from metrics.types import corrected_name

NO_MODEL = "none"
"""The family of a suite without a model: it scores images from elsewhere, and makes none."""

# What is beyond these is a mistake in the number: it would keep a machine busy without a word.
MOST_SAMPLES, MOST_REFERENCES, MOST_PIXELS = 100_000, 10_000_000, 32_768
MOST_IMAGES = 100_000_000
"""Of one run."""
_OVERRIDES = (
    *("samples", "seed", "limit", "prompts", "prompt_column", "metrics", "dtype", "compile", "fuse_lora"),
    "reference",
)


class Sampler(Part):
    """A diffusers scheduler by class name, the number of denoising steps T, and options that replace its config's."""

    scheduler: Text = "DDPMScheduler"
    steps: Annotated[Whole, Field(ge=1, le=MOST_STEPS)] = 40
    options: dict[str, Any] = Field(default_factory=dict)


class Reference(Part):
    """The reference images of set metrics: `count` drawn by the embedded world from `seed`, or a folder of images.

    `path` may be a folder (with subfolders), a zip, a folder or repository of `datasets` ("datasets:owner/name", whose
    `split` and `column` may be named), or an .npz file of statistics. `network` states the metric whose features the
    statistics are of, where the file does not. `name` says which published set they are (such as "coco-val2017"), so
    that it is said which methods saw it.
    """

    kind: Literal["shapes", "folder"]
    count: Annotated[Whole, Field(ge=2, le=MOST_REFERENCES)] = 2000
    seed: Annotated[Whole, Field(ge=0)] = 0
    path: Text | None = None
    name: Text | None = None
    network: Text | None = None
    split: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _folder_has_path(self) -> Reference:
        if self.kind == "folder" and self.path is None:
            raise ValueError("needs a path, since its kind is 'folder'")
        return self


class Suite(Part):
    """What is evaluated. `label` marks metrics without the published weights; `guidance` is the base model's own.

    `compile` compiles networks and decoders with torch.compile: other last bits, and so another identity.
    `fuse_lora` runs LoRAs fused into the weights in methods that run the tuned network alone: the same of those.

    `prompt_column` names the column of the prompt file that holds the prompts, where that is not found by itself.
    `cluster` names the tag above prompts whose prompts are no independent ones ("scene" for tags "scene:3").
    `metrics` are those that are scored. `unselected` keeps the suite's others, so that a run that was scored with some
    of them can be scored with the rest as the suite means it.

    `negative_prompt`, `guidance_rescale`, `clip_skip` and `embeddings` (token -> weights of a textual inversion) hold
    for both sides of all methods that do not say otherwise (`bench.methods.conditions`).
    """

    name: Text
    title: str = ""
    label: Text | None = None
    cluster: Text | None = None
    model: ModelSpec
    prompts: Text
    prompt_column: Text | None = None
    samples: Annotated[Whole, Field(ge=1, le=MOST_SAMPLES)] = 5
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 42
    limit: Annotated[Whole, Field(ge=1)] | None = None
    sampler: Sampler = Sampler()
    resolution: Annotated[Whole, Field(ge=8, le=MOST_PIXELS, multiple_of=8)] = 512
    dtype: Literal["float32", "float16", "bfloat16", "server"] = "float32"
    compile: bool = False
    fuse_lora: bool = False
    guidance: Guidance = 7.5
    negative_prompt: Prompt | None = None
    guidance_rescale: Weight | None = None
    clip_skip: Skip | None = None
    embeddings: dict[str, Text] = Field(default_factory=dict)
    methods: dict[str, MethodOverride] = Field(default_factory=dict)
    metrics: dict[str, MetricSpec] = Field(min_length=1)
    unselected: dict[str, MetricSpec] = Field(default_factory=dict)
    reference: Reference | None = None

    @model_validator(mode="before")
    @classmethod
    def _server_decides(cls, data: Any) -> Any:
        return server_decides(data)

    @model_validator(mode="after")
    def _check_served(self) -> Suite:
        check_served(self)
        return self

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        if not is_safe_name(name):
            raise ValueError("must be usable as a folder name (A-Z a-z 0-9 . _ -)")
        return name

    @field_validator("methods")
    @classmethod
    def _safe_methods(cls, methods: dict[str, MethodOverride]) -> dict[str, MethodOverride]:
        for name in methods:
            if not is_safe_name(name):
                raise ValueError(f"'{name}' must be usable as a folder name (A-Z a-z 0-9 . _ -)")
        return methods

    @model_validator(mode="after")
    def _define_metrics(self) -> Suite:
        """Metrics that this suite defines are known by their names from here on."""
        for name, spec in (self.unselected | self.metrics).items():
            define_metric(name, spec)
        return self

    def override(self, **changes: Any) -> Suite:
        """A copy with other samples, seed, limit, prompts, dtype, metrics (names) or reference (its table).

        None leaves a value alone.

        A metric that the suite does not configure is taken with its published weights. Raises UsageError.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        if "prompts" in given:  # the suite's column is that of its own file
            given.setdefault("prompt_column", None)
        for key in given:
            if key not in _OVERRIDES:
                raise unknown("override", key, _OVERRIDES)
        if "metrics" in given:
            given["metrics"] = chosen = self._choose(given["metrics"])
            known = {name: spec.model_dump() for name, spec in (self.unselected | self.metrics).items()}
            given["unselected"] = {name: spec for name, spec in known.items() if name not in chosen}
        return _validated({**self.model_dump(), **given}, where="")

    def resolved(self) -> dict[str, Any]:
        """The suite as plain JSON data, for the manifest; what is not set is not in it."""
        data = self.model_dump(mode="json")
        for table in (data, *data["methods"].values()):
            for name in NAMES:
                if table[name] is None or table[name] == {}:
                    del table[name]
        for table in data["methods"].values():
            for name in ("text_encoder", "guider", *ALL_FIELDS, "soup", "ratios", "ratio", *SEARCH, *ACCELERATION):
                if table[name] is None:
                    del table[name]
            if not table["replicates"]:
                del table["replicates"]
        for table in (*data["metrics"].values(), *data["unselected"].values()):
            for key, default in DEFAULTS.items():
                if table[key] == default:
                    del table[key]
        if not self.unselected:
            del data["unselected"]
        for key in ("compile", "fuse_lora"):
            if not data[key]:
                del data[key]
        if self.prompt_column is None:
            del data["prompt_column"]
        for key in ("network", "split", "column"):
            if self.reference is not None and data["reference"][key] is None:
                del data["reference"][key]
        return data

    def _choose(self, names: Iterable[str]) -> dict[str, Any]:
        known = self.unselected | self.metrics
        check_metrics(names := list(names), known)
        return {name: _spec_of(name, known).model_dump() for name in names}


def _spec_of(name: str, known: Mapping[str, MetricSpec]) -> MetricSpec:
    """How a metric is scored; one of the official protocol has the weights of the corrected one."""
    other = known.get(corrected_name(name))
    return known.get(name) or (MetricSpec(weights=other.weights) if other else MetricSpec())


def check_metrics(names: Iterable[str], also: Iterable[str] = ()) -> None:
    """Raise UsageError for the first name that is no metric (did you mean ...?), or one that is not supported."""
    import metrics
    from bench.registry.metrics import metric_names

    registered = metric_names()
    known = list(dict.fromkeys([*registered, *also]))
    for name in names:
        if name not in known:
            raise unknown("metric", name, known)
        why = metrics.info(name).unsupported if name in registered else ""
        if why:
            raise UsageError(f"metric '{name}' is not supported, because {why}")


def _validated(data: dict[str, Any], where: str) -> Suite:
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise UsageError(where + sentence(error, _keys_beside)) from None


def _keys_beside(keys: list[str]) -> list[str]:
    """The keys that are allowed where an unknown one stands."""
    parts: dict[str, type[Part]] = {"model": ModelSpec, "sampler": Sampler, "reference": Reference}
    named: dict[str, type[Part]] = {"methods": MethodOverride, "metrics": MetricSpec}
    if len(keys) == 1:
        return list(Suite.model_fields)
    part = parts.get(keys[0]) if len(keys) == 2 else named.get(keys[0])
    return list(part.model_fields) if part else []
