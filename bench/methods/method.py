"""What a sampling method is: one row of the catalogue."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from bench.errors import UsageError
from bench.methods.conditions import NAMES
from bench.methods.coupling import Coupling
from bench.methods.guider import PLAIN, Guider
from bench.methods.schedule import Schedule
from bench.methods.search import Search

# What both the static plots and the page can draw, by the names that matplotlib has for them.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">", "d", "8", "*", "H")
TAYLOR = ("taylor_interval", "taylor_order", "taylor_warmup")
ACCELERATION = ("steps", "precision", "cache_interval", "threshold", *TAYLOR)
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Method:
    """A sampling method: where the tuned weights come from, when they act, and the guidance of each side.

    A guidance of None means "as the suite says"; 1.0 is no classifier-free guidance. Guidance of the tuned side
    defaults to 1.0, since reward-tuned models are run without it in the official protocol of ImageReFL. `lora_scale`
    multiplies the strength of tuned weights that are a LoRA. `negative_prompt`, `guidance_rescale`, `clip_skip` and
    `embeddings` are prompt conditions of both sides (None: as the suite says; see `bench.methods.conditions`).
    `guider` is how guidance is applied (`bench.methods.guider`).
    `steps` is a number of denoising steps of its own (None: the suite's), `precision` "int8" weights of 8 bits
    (`bench.models.int8`), `cache_interval` N a UNet whose deep features are computed at every Nth step and reused at
    the others (`bench.models.reuse`), `threshold` a transformer whose other blocks are left out where its first one
    differs by less (`bench.models.block_cache`), `taylor_interval`, `taylor_order` and `taylor_warmup` attention layers
    that are extrapolated between the steps that run them (`bench.models.taylor_cache`).
    `search` keeps the best of several candidates (`bench.methods.search`; None: there is one).
    `coupling` pushes the images of a prompt apart (`bench.methods.coupling`; None: they know nothing of each other).
    With a `ratio` the tuned network is not one of the weights but lies that far from the base model towards them, or
    towards the average of the weights in `soup`, with the shares `ratios` (equal ones if empty).
    `text_encoder` "ignore" leaves out what the tuned weights say of text encoders (None: it is used). `train`
    is the objective of `bench train` that makes a checkpoint; the published ones are in `bench.methods.checkpoints`,
    and those that a method of one's own has may be named in `checkpoints` (weights names). `row` is the name in the
    catalogue when settings gave this method a longer name, and `settings` are those. Of a method that was trained with
    several seeds, `replicate_of` is its name without the `replicate`, the number of the checkpoint. `trained_on` names
    metrics, `trained_on_data` image sets that the weights saw (`bench.scoring.leakage`). Plots draw it in `colour`
    ("#rrggbb") with `marker` (one of MARKERS); without them a look that no row has is found from the name.
    """

    name: str
    title: str
    schedule: Schedule
    weights: str | None = None
    base_guidance: float | None = None
    tuned_guidance: float | None = 1.0
    lora_scale: float = 1.0
    negative_prompt: str | None = None
    guidance_rescale: float | None = None
    clip_skip: int | None = None
    embeddings: tuple[tuple[str, str], ...] = ()
    text_encoder: str | None = None
    trained_on: tuple[str, ...] = ()
    trained_on_data: tuple[str, ...] = ()
    citation: str = ""
    licence: str = ""
    checkpoints: tuple[str, ...] = ()
    train: str | None = None
    row: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    colour: str = ""
    marker: str = ""
    replicate_of: str = ""
    replicate: int | None = None
    guider: Guider = PLAIN
    soup: tuple[str, ...] = ()
    ratios: tuple[float, ...] = ()
    ratio: float | None = None
    search: Search | None = None
    coupling: Coupling | None = None
    steps: int | None = None
    precision: str | None = None
    cache_interval: int | None = None
    threshold: float | None = None
    taylor_interval: int | None = None
    taylor_order: int | None = None
    taylor_warmup: int | None = None

    def __post_init__(self) -> None:
        """Refuse a look that cannot be drawn. Raises UsageError."""
        if self.colour and not _COLOUR.fullmatch(self.colour):
            raise UsageError(f"method '{self.name}': colour '{self.colour}' must be written as #rrggbb")
        if self.marker and self.marker not in MARKERS:
            known = " ".join(MARKERS)
            raise UsageError(f"method '{self.name}': marker '{self.marker}' must be one of {known}")

    @property
    def safe_name(self) -> str:
        """The name for folders: "combined[switch_step=20]" becomes "combined-switch_step-20"."""
        words = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name)
        return re.sub(r"\.{2,}", ".", words).strip("-.")[:80]

    @property
    def judged_name(self) -> str:
        """The name that gates and tables know it by: other weights, as each new checkpoint has, are no other method."""
        if "weights" not in dict(self.settings):
            return self.name
        others = ",".join(f"{key}={value}" for key, value in self.settings if key != "weights")
        return f"{self.row_name}[{others}]" if others else self.row_name

    @property
    def row_name(self) -> str:
        """The name in the catalogue, whatever settings were given."""
        return self.row or self.name

    def weights_at(self, steps: int) -> tuple[float, ...]:
        """w_i of the steps that the method takes in a suite of `steps`. Raises UsageError."""
        return self.schedule.weights(self.steps or steps)

    @property
    def candidates(self) -> int:
        """Images that are generated for each one that is kept."""
        return self.search.candidates if self.search else 1

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """(weights name, share) of what the tuned network is averaged of; () where it is one of the weights itself."""
        if self.ratio is None:
            return ()
        names = self.soup or ((self.weights,) if self.weights else ())
        shares = self.ratios or (1.0 / len(names),) * len(names) if names else ()
        return tuple((name, self.ratio * share) for name, share in zip(names, shares, strict=True))

    @property
    def uses_weights(self) -> bool:
        """Whether the method has a tuned side at all, whatever its settings."""
        return not (self.schedule.kind == "constant" and self.schedule.value == 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data for the manifest: not how it is drawn, and of the schedule only what its kind has."""
        data = dataclasses.asdict(self)
        del data["colour"], data["marker"]
        if self.replicate is None:  # manifests of other runs stay what they were
            del data["replicate_of"], data["replicate"]
        data["guider"] = self.guider.to_dict()
        if self.guider.plain:
            del data["guider"]
        data["search"] = self.search.to_dict() if self.search else None
        data["coupling"] = self.coupling.to_dict() if self.coupling else None
        for name in ("search", "coupling"):
            if data[name] is None:
                del data[name]
        for name in ACCELERATION:
            if data[name] is None:
                del data[name]
        if self.ratio is None:
            del data["soup"], data["ratios"], data["ratio"]
        schedule = {name: getattr(self.schedule, name) for name in self.schedule.fields}
        for name in (*NAMES, "text_encoder"):  # manifests of runs without any stay what they were
            if not data[name] and data[name] != "":
                del data[name]
        return data | {"schedule": {"kind": self.schedule.kind, **schedule}, "settings": dict(self.settings)}
