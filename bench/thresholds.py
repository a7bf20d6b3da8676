"""Reads the thresholds file of the gate: TOML, a table per method and metric. Mistakes name their line and key.

suite = "shapes"          # optional: only runs of this suite are judged

[imagerefl.lpips]
min = 0.30                # also: max
max_drop = 0.02           # against the baseline, in the metric's unit; or max_drop_percent = 5
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError, suggest

RULES = ("min", "max", "max_drop", "max_drop_percent")


@dataclass(frozen=True, slots=True)
class Bound:
    """One line of the file: a rule of RULES with its value, for a method and a metric."""

    method: str
    metric: str
    rule: str
    value: float
    line: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A whole file: its bounds in order, and the suite they are for (None: any)."""

    path: str
    bounds: tuple[Bound, ...]
    suite: str | None = None


def read_thresholds(path: Path | str, methods: Iterable[str], metrics: Iterable[str]) -> Thresholds:
    """Parse and validate a thresholds file; names must be among the known `methods` and `metrics`.

    UsageError: no such file, not TOML (with its line), an unknown method, metric or key (with a suggestion), or a
    bound that is not a finite number (negative, for the two drops).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the thresholds file {path}: {error}") from None
    return parse_thresholds(text, str(path), methods, metrics)


def parse_thresholds(text: str, path: str, methods: Iterable[str], metrics: Iterable[str]) -> Thresholds:
    """The same from text; `path` is only for messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    known_methods, known_metrics = sorted(set(methods)), sorted(set(metrics))
    suite = data.pop("suite", None)
    if suite is not None and not isinstance(suite, str):
        raise UsageError(f"{path}, line {_line(text, (), 'suite')}: suite must be the name of a suite, in quotes")
    bounds: list[Bound] = []
    for method, tables in data.items():
        if not isinstance(tables, dict):
            wrong = f"{path}, line {_line(text, (), method)}: unexpected key '{method}' outside of a table"
            raise UsageError(f"{wrong}: write a table [method.metric] and in it one of {', '.join(RULES)}")
        _known(path, _line(text, (method,)), "method", method, known_methods)
        for metric, rules in _metrics(tables):
            line = _line(text, (method, *metric.split(".")))
            _known(path, line, "metric", metric, known_metrics)
            bounds += [_bound(text, path, method, metric, rule, value) for rule, value in rules.items()]
    if not bounds:
        raise UsageError(f"{path} has no thresholds: write a table [method.metric] with one of {', '.join(RULES)}")
    return Thresholds(path, tuple(bounds), suite)


def _metrics(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(metric, rules) of a method's table. [m.hpsv2.1] without quotes is TOML for nested tables: joined again."""
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict):
            if not prefix:  # a key right under [method]
                yield name, {}
            continue
        rules = {rule: bound for rule, bound in value.items() if not isinstance(bound, dict)}
        if rules or not value:
            yield name, rules
        yield from _metrics({k: v for k, v in value.items() if isinstance(v, dict)}, f"{name}.")


def _known(path: str, line: int, kind: str, name: str, known: list[str]) -> None:
    if name not in known:
        listing = f" Known {kind}s: {', '.join(known)}."
        raise UsageError(f"{path}, line {line}: unknown {kind} '{name}'.{suggest(name, known)}{listing}")


def _bound(text: str, path: str, method: str, metric: str, rule: str, value: Any) -> Bound:
    line = _line(text, (method, *metric.split(".")), rule)
    where = f"{path}, line {line}: [{method}.{metric}]"
    if rule not in RULES:
        raise UsageError(f"{where} has an unknown key '{rule}'.{suggest(rule, RULES)} Known keys: {', '.join(RULES)}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where} {rule} must be a number, not {value!r}")
    if rule.startswith("max_drop") and value < 0:
        raise UsageError(f"{where} {rule} must not be negative: it is the largest loss allowed")
    return Bound(method, metric, rule, float(value), line)


_HEADER = re.compile(r"^\s*\[([^\[\]]+|.*\".*)\]\s*(#.*)?$")
_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")


def _line(text: str, table: tuple[str, ...], key: str | None = None) -> int:
    """Line number of a table's head, or of a key in it; the table's own line, or 1, where it is written otherwise."""
    current: tuple[str, ...] = ()
    found = 1
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEADER.match(line)
        if head:
            parts = [a or b or c for a, b, c in _PART.findall(head[1])]
            current = tuple(piece for part in parts for piece in part.split("."))
            if current[: len(table)] == table and found == 1:
                found = number
        elif key is not None and current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return found
