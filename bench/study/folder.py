"""What lies in a study's folder, as typed rows: the manifest, the items, and which rater is shown what.

    study.json    the manifest: schema version, methods with run ids and digests, questions, consent, seed, sizes
    items.jsonl   one item a line: two pictures and what is asked about them
    plan.jsonl    one rater a line: the items in order, and which method stands on the left (adaptive: drawn when the
                  rater begins, and kept beside the votes)
    assets/       the pictures, under names that say nothing
    study.key     what links and handles are made from; with it, anybody can vote
    study.db      the votes (SQLite), or in PostgreSQL (`bench.study.store`)

Nothing of it but the pictures, the prompts and the texts ever reaches a browser.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import MissingError, UsageError
from bench.store.atomic import atomic_write, read_json, to_json
from bench.study.lines import ASSETS, ITEMS, MANIFEST, PLAN, read_lines

SCHEMA_VERSION = 1
TASKS = ("preference", "diversity", "alignment")
QUESTIONS = {
    "preference": "Which picture do you like better for this description?",
    "diversity": "Which set of pictures is more varied?",
    "alignment": "Which picture shows better what the description says?",
}
INSTRUCTIONS = (
    "You will see two pictures, or two sets of pictures, with the description that they were made for. "
    "Choose the one that answers the question better, or say that they are about equal. There is no right answer: your "
    "own judgement counts. Take the time that you need, and look at both before you choose."
)
CONSENT = (
    "Taking part is voluntary, and you can stop at any time by closing this page. Your choices and the time that each "
    "took are stored under a random code; no name, address, account or other personal data is asked for or stored. "
    "The answers are used for research and may be published without anything that identifies you. If you want your "
    "answers deleted, send the link or the code that is shown at the end to the people who invited you."
)
DEGRADED = "(degraded)"
"""The second method of a check: a spoiled copy of the first one's picture."""


@dataclass(frozen=True, slots=True)
class StudyItem:
    """Two pictures and the question asked about them. `check` is the outcome that is right (1.0: a), else None."""

    item: str
    task: str
    kind: str  # real | repeat | check | practice
    prompt_id: str
    prompt: str
    sample: int | None
    method_a: str
    method_b: str
    asset_a: str
    asset_b: str
    repeated_of: str | None = None
    check: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """An item in a rater's order, and whether its method a stands on the left.

    `chance`: of an adaptive study, the probability with which the item's pair was drawn for this place.
    """

    item: str
    a_left: bool
    chance: float | None = None


@dataclass(frozen=True)
class Study:
    """A study's folder, read and checked. `plan` has the items of each rater in order."""

    folder: Path
    manifest: dict[str, Any]
    items: dict[str, StudyItem]
    plan: dict[str, tuple[Shown, ...]] = field(repr=False)

    @property
    def id(self) -> str:
        """What tells the rows of one study from those of another in a shared database."""
        return str(self.manifest["study"])

    @property
    def adaptive(self) -> dict[str, Any] | None:
        """Of an adaptive study, "floor" of the chances, "looks" by task, and "shown", items of a rater; else None."""
        found = self.manifest.get("adaptive")
        return found if isinstance(found, dict) else None

    def total(self, rater: str) -> int:
        """How many answers a rater is asked for."""
        return int(self.adaptive["shown"]) if self.adaptive else len(self.plan[rater])

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods, in their order."""
        return tuple(str(one["name"]) for one in self.manifest["methods"])

    def question(self, task: str) -> str:
        """What is asked in a task."""
        return str(self.manifest["questions"].get(task) or QUESTIONS[task])

    def asset(self, name: str) -> Path:
        """Where a picture lies."""
        return self.folder / ASSETS / name


def write_study(
    folder: Path, manifest: dict[str, Any], items: list[StudyItem], plan: dict[str, tuple[Shown, ...]]
) -> None:
    """Write items and plan, and the manifest last: a folder without it is no study."""
    lines = [json.dumps(dataclasses.asdict(item), ensure_ascii=False) for item in items]
    atomic_write(folder / ITEMS, "".join(f"{line}\n" for line in lines))
    rows = [
        {"rater": rater, "items": [{"item": one.item, "left": "a" if one.a_left else "b"} for one in shown]}
        for rater, shown in plan.items()
    ]
    atomic_write(folder / PLAN, "".join(f"{json.dumps(row)}\n" for row in rows))
    atomic_write(folder / MANIFEST, to_json(manifest))


_NEEDED = {"study": str, "questions": dict, "consent": str, "instructions": str, "tasks": list, "methods": list}


def open_study(folder: Path | str) -> Study:
    """Read a study's folder. MissingError: there is none; UsageError: damaged, or of a newer version."""
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST)
    if manifest is None:
        raise MissingError(f"{folder} is no study: make one with `bench study make RUN RUN --out {folder}`")
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{folder / MANIFEST} has schema_version {version!r}, but this bench reads {SCHEMA_VERSION}: update bench"
        )
    for key, kind in _NEEDED.items():
        if not isinstance(manifest.get(key), kind):
            raise UsageError(f"{folder / MANIFEST} is damaged: '{key}' is missing or no {kind.__name__}")
    _check_adaptive(manifest, folder)
    items = {item.item: item for item in map(_item, _lines(folder / ITEMS))}
    plan = {str(row.get("rater")): _shown(row, items, folder) for row in _lines(folder / PLAN)}
    return Study(folder, manifest, items, plan)


def _check_adaptive(manifest: dict[str, Any], folder: Path) -> None:
    adaptive = manifest.get("adaptive")
    if adaptive is None:
        return
    parts = adaptive if isinstance(adaptive, dict) else {}
    looks, floor, shown = parts.get("looks"), parts.get("floor"), parts.get("shown")
    known = isinstance(looks, dict) and all(
        isinstance(looks.get(task), list) and looks[task] and all(type(one) is int and one > 0 for one in looks[task])
        for task in manifest["tasks"]
    )
    if not known or type(shown) is not int or not isinstance(floor, float) or not 0 < floor <= 1:
        raise UsageError(f"{folder / MANIFEST} is damaged: 'adaptive' lacks its floor, its looks or its size")


def _lines(file: Path) -> list[Any]:
    if not file.is_file():
        raise UsageError(f"{file} is missing: the study is damaged; make it again in another folder")
    return list(read_lines(file))


def _item(row: Any) -> StudyItem:
    names = [one.name for one in dataclasses.fields(StudyItem)]
    try:
        item = StudyItem(**{name: row[name] for name in names if name in row})
    except TypeError as error:
        raise UsageError(f"{ITEMS} is damaged ({error}): make the study again in another folder") from None
    for text in (item.item, item.task, item.kind, item.prompt_id, item.prompt, item.method_a, item.method_b):
        if not isinstance(text, str):
            raise UsageError(f"{ITEMS} is damaged ({text!r} must be a string): make the study again in another folder")
    for asset in (item.asset_a, item.asset_b):
        if not isinstance(asset, str) or Path(asset).name != asset or asset in ("", ".", ".."):
            raise UsageError(f"{ITEMS} names an asset outside {ASSETS}/: {asset!r}")
    return item


def _shown(row: Any, items: dict[str, StudyItem], folder: Path) -> tuple[Shown, ...]:
    try:
        shown = tuple(Shown(str(one["item"]), one["left"] == "a") for one in row["items"])
    except (KeyError, TypeError):
        raise UsageError(f"{folder / PLAN} is damaged: make the study again in another folder") from None
    unknown = [one.item for one in shown if one.item not in items]
    if unknown:
        raise UsageError(f"{folder / PLAN} names item {unknown[0]}, which {ITEMS} does not have: make the study again")
    return shown
