"""What is on disk, as typed rows, with the version of the layout and the migrations from older ones. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, Strict

from bench.errors import UsageError
from bench.formatting import is_safe_name

SCHEMA_VERSION = 2
"""2: parts named by their sha256, digests beside what is replaced, values tied to their pictures."""
MOST_SAMPLES = 100_000
"""Of one prompt; more is a mistake in the number."""
Status = Literal["running", "complete"]
Migration = Callable[[dict[str, Any]], dict[str, Any]]

# Column -> type, in the order on disk.
IMAGE_COLUMNS = {
    "prompt_id": "string",
    "prompt": "string",
    "sample": "int64",
    "seed": "int64",
    "path": "string",
    "sha256": "string",
    "seconds": "float64",
}
NORM_COLUMNS = {"prompt_id": "string", "sample": "int64", "step": "int64", "ratio": "float64"}
PART, LEFT_OUT = "part", "left_out"
"""How files of rows are called: values, and values of a set metric with a block of prompts left out each."""
SCORE_COLUMNS = {
    "prompt_id": "string",
    "sample": "int64",
    "value": "float64",
    "reason": "string",
    "image_sha256": "string",
}

# version n -> function that turns a manifest of version n into one of n + 1.
MANIFEST_MIGRATIONS: dict[int, Migration] = {1: dict}  # only the files around it are others
SUMMARY_MIGRATIONS: dict[int, Migration] = {1: dict}


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image: `path` is relative to the run folder, `sha256` is of the file, `seconds` its share of the time."""

    prompt_id: str
    prompt: str
    sample: int
    seed: int
    path: str
    sha256: str
    seconds: float

    @property
    def key(self) -> tuple[str, int]:
        """What a row is found by."""
        return (self.prompt_id, self.sample)


@dataclass(frozen=True, slots=True)
class NormRow:
    """|tuned prediction| / |base prediction| of one image at one denoising step that evaluated both networks."""

    prompt_id: str
    sample: int
    step: int
    ratio: float


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One value of a metric. `sample` is None for a group metric, `prompt_id` too for a set metric.

    A value that could not be computed is NaN and then `reason` says why; otherwise `reason` is None. `image_sha256`
    says of which picture or pictures it was made (`bench.store.ties`); None where version 1 did not say it.
    """

    prompt_id: str | None
    sample: int | None
    value: float
    reason: str | None = None
    image_sha256: str | None = None

    @property
    def left_out(self) -> bool:
        """Whether this is the value of a set metric with one block of prompts left out; `sample` is the block."""
        return self.prompt_id is None and self.sample is not None

    @property
    def sample_of_picture(self) -> int | None:
        """The sample that the value is of; None for one of several pictures."""
        return None if self.prompt_id is None else self.sample

    @property
    def key(self) -> tuple[str | None, int | None]:
        """What a row is found by."""
        return (self.prompt_id, self.sample)


_Row = TypeVar("_Row", ImageRow, ScoreRow)


def last_wins(rows: Iterable[_Row]) -> list[_Row]:
    """One row per key, the last, in the order of the keys' first rows."""
    return list({row.key: row for row in rows}.values())


class BadImage(NamedTuple):
    """An image that is wanted and cannot be used, with the reason as a phrase for the user."""

    prompt_id: str
    sample: int
    why: str

    @property
    def damaged(self) -> bool:
        """True when something was there that had to be rejected; False when it was simply never made."""
        return self.why != NEVER_MADE


NEVER_MADE = "not generated yet"


def _safe(name: str) -> str:
    if not is_safe_name(name):
        raise ValueError("must be 1 to 100 of A-Z a-z 0-9 . _ -")
    return name


def _run(name: str) -> str:
    method, at, digest = name.rpartition("@")
    if not at or not is_safe_name(method) or not re.fullmatch("[0-9a-f]{8}", digest):
        raise ValueError("must be <method>@<8 hex digits>")
    return name


def _method(name: str) -> str:
    if not name or any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name):
        raise ValueError("must be a name without control characters")
    return name


SafeName = Annotated[str, Strict(), AfterValidator(_safe)]
Text = Annotated[str, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)] | Annotated[int, Strict()] | None


def _prompts(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, prompt in enumerate(prompts, 1):
        if not {"id", "text"} <= prompt.keys() <= {"id", "text", "tags"}:
            raise ValueError(f"prompt {number} must have an id, a text and tags, and nothing else")
        tags = prompt.get("tags", [])
        if not all(isinstance(one, str) for one in (prompt["id"], prompt["text"], *tags)) or not isinstance(tags, list):
            raise ValueError(f"prompt {number} must have strings as id and text, and a list of strings as tags")
        _safe(prompt["id"])
    if len({prompt["id"] for prompt in prompts}) < len(prompts):
        raise ValueError("two prompts have one id")
    return prompts


@dataclass(slots=True)
class Manifest:
    """What one run is. `identity` is exactly what the hash in the run's name covers."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    suite: SafeName
    method: Annotated[str, Strict(), AfterValidator(_method)]
    run: Annotated[str, Strict(), AfterValidator(_run)]
    identity: dict[str, Any]
    resolved_suite: dict[str, Any]
    resolved_method: dict[str, Any]
    prompts: Annotated[list[dict[str, Any]], AfterValidator(_prompts)]
    samples: Annotated[int, Strict(), Field(ge=1, le=MOST_SAMPLES)]
    status: Status = "running"
    trained_on: list[Text] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)
    timings: dict[str, Number] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[Text]] = field(default_factory=dict)  # metric -> what a reader of its values should know
    name: Text = ""  # given with --name: one run of a results folder has it
    grown: dict[str, Any] = field(default_factory=dict)  # of an adaptive run: how far it came, and why it stopped
    batches: dict[str, Any] = field(default_factory=dict)  # how images were cut into batches: bench.generation.cutting
    schema_version: Annotated[int, Strict()] = SCHEMA_VERSION

    @property
    def complete(self) -> bool:
        """Whether everything was generated, scored and summarised."""
        return self.status == "complete"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, schema version and status first."""
        data = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for key in ("name", "batches"):  # written since they came: what has none stays as it was
            if not data[key]:
                del data[key]
        return {key: data.pop(key) for key in ("schema_version", "status", "suite", "method", "run")} | data


def migrate_manifest(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A manifest's data, lifted to this version. Raises UsageError that begins with `where`."""
    return migrate(data, MANIFEST_MIGRATIONS, where)


def check_version(version: object, where: str) -> int:
    """The schema version as a number that this program reads. Raises UsageError for a newer or senseless one."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UsageError(f"{where} has no usable schema_version (got {version!r}): it was not written by bench")
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"{where} was written by a newer version (schema {version}, this one reads up to {SCHEMA_VERSION}): "
            "upgrade imagerefl-bench"
        )
    return version


def migrate(data: Mapping[str, Any], steps: Mapping[int, Migration], where: str) -> dict[str, Any]:
    """`data` lifted, version by version, to SCHEMA_VERSION. Raises UsageError if it is newer or has no version."""
    current = dict(data)
    for version in range(check_version(current.get("schema_version"), where), SCHEMA_VERSION):
        current = dict(steps[version](current))
        current["schema_version"] = version + 1
    return current
