"""GenEval's rules (Ghosh et al. 2023, arXiv 2310.11513; evaluation program at 16f1681) on what a detector found. Pure.

A prompt asks for objects ("include": class, count, maybe a colour and a position relative to an earlier one) and
against others ("exclude"). Only the surest `count` objects of a class are asked for their colour and position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.errors import MetricError
from metrics.image.questions import read_prompts

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
THRESHOLD, COUNTING_THRESHOLD, MOST_OBJECTS = 0.3, 0.9, 16
POSITION_THRESHOLD, DIRECTION = 0.1, 0.5

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """One detected object: its box (left, top, right, bottom) in pixels, its score, and its mask [H, W] if known."""

    box: Box
    score: float
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a prompt asks for; `position` is a relation and the number of the earlier clause that it is towards."""

    name: str
    count: int
    colour: str | None = None
    position: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The clauses of one prompt."""

    tag: str
    include: tuple[Wanted, ...]
    exclude: tuple[Wanted, ...]

    @property
    def threshold(self) -> float:
        """From which score an object is there."""
        return COUNTING_THRESHOLD if self.tag == "counting" else THRESHOLD


def kept(found: Sequence[Found], threshold: float) -> list[Found]:
    """Objects of one class above the threshold, the surest first, at most 16."""
    above = sorted((one for one in found if one.score > threshold), key=lambda one: -one.score)
    return above[:MOST_OBJECTS]


def relations(a: Box, b: Box) -> set[str]:
    """Where a lies relative to b: of "left of", "right of", "above", "below" those that hold.

    The offset of the centres counts beyond a tenth of the two sizes, and a direction from half of its length on.

    >>> sorted(relations((0, 0, 10, 10), (100, 0, 110, 10)))
    ['left of']
    """
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    sizes = [(abs(box[2] - box[0]), abs(box[3] - box[1])) for box in (a, b)]
    offset = [centres[0][axis] - centres[1][axis] for axis in (0, 1)]
    length = math.hypot(*offset)
    beyond = [
        math.copysign(
            max(abs(offset[axis]) - POSITION_THRESHOLD * (sizes[0][axis] + sizes[1][axis]), 0.0), offset[axis]
        )
        for axis in (0, 1)
    ]
    if max(map(abs, beyond)) < 1e-3:
        return set()
    dx, dy = beyond[0] / length, beyond[1] / length
    holds = {"left of": dx < -DIRECTION, "right of": dx > DIRECTION, "above": dy < -DIRECTION, "below": dy > DIRECTION}
    return {name for name, yes in holds.items() if yes}


def is_correct(
    rule: Rule, objects: Mapping[str, Sequence[Found]], colours_of: Callable[[Sequence[Found], str], Sequence[str]]
) -> bool:
    """Whether an image with these objects (each class as `kept` leaves it) is what the prompt asks for.

    `colours_of` names the colour of each object of a class; it is asked only where the rule needs it.
    """
    correct = True
    groups: list[Sequence[Found] | None] = []
    for wanted in rule.include:
        mine = objects.get(wanted.name, ())[: wanted.count]
        matched = len(mine) >= wanted.count
        if matched and wanted.colour is not None:
            matched = list(colours_of(mine, wanted.name)).count(wanted.colour) >= wanted.count
        if matched and wanted.position is not None:
            relation, other = wanted.position
            towards = groups[other]
            matched = towards is not None and all(relation in relations(a.box, b.box) for a in mine for b in towards)
        groups.append(mine if matched else None)
        correct = correct and matched
    return correct and all(len(objects.get(one.name, ())) < one.count for one in rule.exclude)


def read_rules(path: Path) -> dict[str, Rule]:
    """Prompt -> its rule, from lines of GenEval's evaluation_metadata.jsonl; MetricError names a bad line."""
    found: dict[str, Rule] = {}
    for number, prompt, rule in read_prompts(path, "evaluation_metadata.jsonl", _rule):
        if not rule.include:
            raise MetricError(f"{path}: line {number}: the prompt asks for nothing")
        found[prompt] = rule
    if not found:
        raise MetricError(f"{path} has no prompts")
    return found


def _rule(row: Mapping[str, Any]) -> Rule:
    include = tuple(_wanted(one, index) for index, one in enumerate(row["include"]))
    return Rule(str(row["tag"]), include, tuple(_wanted(one, 0) for one in row.get("exclude", [])))


def _wanted(row: Mapping[str, Any], index: int) -> Wanted:
    colour, position = row.get("color"), row.get("position")
    count = int(row["count"])
    if count < 1:
        raise ValueError(f"a count of {count}")
    if colour is not None and colour not in COLOURS:
        raise ValueError(f"the colour '{colour}' is not one of {', '.join(COLOURS)}")
    if position is None:
        return Wanted(str(row["class"]), count, colour)
    relation, other = str(position[0]), int(position[1])
    if relation not in ("left of", "right of", "above", "below") or not 0 <= other < index:
        raise ValueError(f"the position '{relation}' of clause {other}")
    return Wanted(str(row["class"]), count, colour, (relation, other))
