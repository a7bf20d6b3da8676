"""What is on disk, as typed rows, with the version of the layout and the migrations from older ones. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from bench.errors import UsageError
from bench.formatting import is_safe_name

SCHEMA_VERSION = 1
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
PART, LEFT_OUT = "part", "left_out"
"""How files of rows are called: values, and values of a set metric with a block of prompts left out each."""
SCORE_COLUMNS = {"prompt_id": "string", "sample": "int64", "value": "float64", "reason": "string"}

# version n -> function that turns a manifest of version n into one of n + 1.
MANIFEST_MIGRATIONS: dict[int, Migration] = {}
SUMMARY_MIGRATIONS: dict[int, Migration] = {}


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
class ScoreRow:
    """One value of a metric. `sample` is None for a group metric, `prompt_id` too for a set metric.

    A value that could not be computed is NaN and then `reason` says why; otherwise `reason` is None.
    """

    prompt_id: str | None
    sample: int | None
    value: float
    reason: str | None = None

    @property
    def left_out(self) -> bool:
        """Whether this is the value of a set metric with one block of prompts left out; `sample` is the block."""
        return self.prompt_id is None and self.sample is not None

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


@dataclass(slots=True)
class Manifest:
    """What one run is. `identity` is exactly what the hash in the run's name covers."""

    suite: str
    method: str
    run: str
    identity: dict[str, Any]
    resolved_suite: dict[str, Any]
    resolved_method: dict[str, Any]
    prompts: list[dict[str, Any]]
    samples: int
    status: Status = "running"
    trained_on: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # metric -> what a reader of its values should know
    name: str = ""  # given with --name: one run of a results folder has it
    grown: dict[str, Any] = field(default_factory=dict)  # of an adaptive run: how far it came, and why it stopped
    schema_version: int = SCHEMA_VERSION

    @property
    def complete(self) -> bool:
        """Whether everything was generated, scored and summarised."""
        return self.status == "complete"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, schema version and status first."""
        data = dataclasses.asdict(self)
        if not self.name:
            del data["name"]
        return {key: data.pop(key) for key in ("schema_version", "status", "suite", "method", "run")} | data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "manifest") -> Manifest:
        """The manifest in `data`, migrated if it is of an older version. Raises UsageError that begins with `where`."""
        current = migrate(data, MANIFEST_MIGRATIONS, where)
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        absent = [
            name
            for name, entry in known.items()
            if name not in current
            and entry.default is dataclasses.MISSING
            and entry.default_factory is dataclasses.MISSING
        ]
        if absent:
            raise UsageError(f"{where} is not a manifest of bench: it lacks {', '.join(absent)}")
        made = cls(**{name: current[name] for name in known if name in current})
        _check_folders(made, where)
        return made


def _check_folders(manifest: Manifest, where: str) -> None:
    """UsageError for names that would lead a writer out of its folder: a manifest may be a stranger's."""
    names = [("suite", manifest.suite), *zip(("run", "run"), str(manifest.run).split("@", 1), strict=False)]
    for key, name in names:
        if not isinstance(name, str) or not is_safe_name(name):
            raise UsageError(f"{where} is not a manifest of bench: its {key} {name!r} is not safe as a folder name")


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
