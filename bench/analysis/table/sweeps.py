"""Which methods are one method at several settings, in order: the curves of the plots.

A sweep (`switch_step=20,30`) is a curve, and so are checkpoints of one training (`update=200`, as `bench train
--eval-every` names them, or `weights=.../step-200`): rows that differ in exactly one parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.table.rows import Curve, Row

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
GUIDANCE = ("base_guidance", "tuned_guidance")


def curves(rows: Sequence[Row]) -> list[Curve]:
    """All curves of at least two rows, by family and parameter."""
    found = []
    for family in dict.fromkeys(row.family for row in rows):
        members = [(row, parameters(row)) for row in rows if row.family == family]
        for key in sorted({key for _, given in members for key in given}):
            groups: dict[str, list[tuple[str, str]]] = {}
            for row, given in members:
                if key in given:
                    rest = repr(sorted((k, v) for k, v in given.items() if k != key))
                    groups.setdefault(rest, []).append((row.name, given[key]))
            found += [made for group in groups.values() if (made := _curve(family, key, group))]
    return found


def parameters(row: Row) -> dict[str, str]:
    """Everything that may be swept of a row, as text: from its manifest, or else from its name.

    Weights count only where they were set: those of a training's checkpoints differ along with its `update`.
    """
    store = row.run.store
    method: Mapping[str, Any] = (store.manifest().resolved_method if store else None) or {}
    given: dict[str, str] = {}
    schedule = method.get("schedule")
    if isinstance(schedule, Mapping):
        given = {str(key): _text(value) for key, value in schedule.items() if value is not None}
        given |= {key: _text(method[key]) for key in GUIDANCE if method.get(key) is not None}
        given |= {str(key): _text(value) for key, value in (method.get("settings") or {}).items()}
    for part in row.setting.split(","):
        key, equals, value = part.partition("=")
        if equals and key.strip() != "replicate":  # another training seed is no other setting
            given.setdefault(key.strip(), value.strip())
    if "update" in given:  # of a training (bench.pipeline.trajectory): it names the checkpoint, wherever that lies
        given.pop("weights", None)
    return given


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "/".join(map(_text, value))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _curve(family: str, key: str, group: Sequence[tuple[str, str]]) -> Curve | None:
    """The curve of rows that differ in `key` alone; None when its values are not numbers or fewer than two."""
    values = [value for _, value in group]
    if len(set(values)) < 2 or len(set(values)) != len(values):
        return None
    parameter, numbers = key, [_plain_number(value) for value in values]
    if any(number is None for number in numbers):
        parameter, numbers = _numbered(values) or (key, [None])
    if any(number is None for number in numbers):
        return None
    order = sorted(zip(numbers, group, strict=True), key=lambda one: (one[0] or 0.0, one[1]))
    return Curve(family, parameter, tuple((name, f"{number:g}") for number, (name, _) in order))


def _plain_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numbered(texts: Sequence[str]) -> tuple[str, list[float | None]] | None:
    """("step", [200, 400]) of ["run/step-200", "run/step-400"]: texts that differ in one number; else None."""
    if len({_NUMBER.sub("\0", text) for text in texts}) != 1:
        return None
    columns = list(zip(*(_NUMBER.findall(text) for text in texts), strict=True))
    differing = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if len(differing) != 1:
        return None
    before = _NUMBER.split(texts[0])[differing[0]]
    word = re.search(r"([A-Za-z]+)[^A-Za-z]*$", before)
    return (word.group(1) if word else "checkpoint"), [float(number) for number in columns[differing[0]]]
