"""Reads the thresholds file of the gate: TOML, a table per method and metric. Mistakes name their line and key.

suite = "shapes"          # optional: only runs of this suite are judged
baseline = "shapes.json"  # optional: what drops are measured against, beside this file; --baseline wins

[gate]
looks = "nightly"         # optional: judged again and again against one baseline, 5 % false alarms over all nights

[imagerefl.lpips]
min = 0.30                # also: max
max_drop = 0.02           # against the baseline, in the metric's unit; or max_drop_percent = 5

[imagerefl.human_preference]  # what people say in the study of --study DIR: the share of votes won, ties half
min = 0.5
over = "base"             # optional: against this method alone, not against all others

[imagerefl.dominates]     # required dominance; [[imagerefl.dominates]] for several
over = "combined"
on = ["pickscore", "lpips"]
margin = { lpips = 0.01 } # optional: how much worse a metric may be, in its unit; 0 where not given
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.analysis.people import HUMAN_METRICS
from bench.errors import UsageError, suggest, system_reason
from bench.gate.numbers import read_number
from bench.gate.toml_lines import line_of
from bench.store.atomic import read_bytes
from metrics.types import is_official

RULES = ("min", "max", "max_drop", "max_drop_percent")
DOMINATES = "dominates"
OVER = " over "  # in the name of a human metric against one method
GATE, LOOKS = "gate", ("once", "nightly")
_DOMINANCE_KEYS = ("over", "on", "margin")


@dataclass(frozen=True, slots=True)
class Bound:
    """One line of the file: a rule of RULES with its value, for a method and a metric."""

    method: str
    metric: str
    rule: str
    value: float
    line: int


@dataclass(frozen=True, slots=True)
class Dominance:
    """A method that has to be at least as good as another on several metrics, and better on one of them."""

    method: str
    over: str
    metrics: tuple[str, ...]
    margins: tuple[float, ...]  # per metric, how much worse it may be, in the metric's unit
    line: int


Rule = Bound | Dominance


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A whole file: its rules in the order of the file, the suite they are for (None: any), and the baseline's file."""

    path: str
    rules: tuple[Rule, ...]
    suite: str | None = None
    baseline: Path | None = None  # as the file names it, seen from where the file is
    looks: str = "once"  # once | nightly: whether many looks at one baseline share what may go wrong

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The rules on one metric of one method."""
        return tuple(rule for rule in self.rules if isinstance(rule, Bound))


@dataclass(frozen=True, slots=True)
class _File:
    """A file under way: its text for line numbers, and the names that it may use."""

    text: str
    path: str
    methods: list[str]
    metrics: list[str]

    def where(self, table: tuple[str, ...], key: str | None = None, nth: int = 0) -> str:
        return f"{self.path}, line {line_of(self.text, table, key, nth)}"

    def known(self, where: str, kind: str, name: str) -> None:
        known = self.methods if kind == "method" else self.metrics
        if name not in known:
            listing = f" Known {kind}s: {', '.join(known)}."
            raise UsageError(f"{where}: unknown {kind} '{name}'.{suggest(name, known)}{listing}")


def read_thresholds(path: Path | str, methods: Iterable[str], metrics: Iterable[str]) -> Thresholds:
    """Parse and validate a thresholds file; names must be among the known `methods` and `metrics`.

    UsageError: no such file, not TOML (with its line), an unknown method, metric or key (with a suggestion), a bound
    that is not a finite number (negative, for the drops and margins), or bounds that exclude each other.
    """
    try:
        text = read_bytes(Path(path)).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the thresholds file {path}: {system_reason(error)}") from None
    return parse_thresholds(text, str(path), methods, metrics)


def parse_thresholds(text: str, path: str, methods: Iterable[str], metrics: Iterable[str]) -> Thresholds:
    """The same from text; `path` is only for messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is not a thresholds file: its values are nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"{path} is not a thresholds file: {str(error).split(';')[0]}") from None
    file = _File(text, path, sorted(set(methods)), sorted(set(metrics)))
    suite = _text(file, data, "suite", "the name of a suite")
    before = _text(file, data, "baseline", "the name of a file")
    looks = _looks(file, data.pop(GATE, {}))
    rules: list[Rule] = []
    for method, tables in data.items():
        if not isinstance(tables, dict):
            wrong = f"{file.where((), method)}: unexpected key '{method}' outside of a table"
            raise UsageError(f"{wrong}: write a table [method.metric] and in it one of {', '.join(RULES)}")
        file.known(file.where((method,)), "method", method)
        rules += _dominances(file, method, tables.pop(DOMINATES, None))
        for metric, values in _metrics(tables):
            file.known(file.where((method, metric)), "metric", metric)
            rules += _bounds(file, method, metric, values)
    if not rules:
        raise UsageError(f"{path} has no thresholds: write a table [method.metric] with one of {', '.join(RULES)}")
    ordered = tuple(sorted(rules, key=lambda rule: rule.line))
    return Thresholds(path, ordered, suite, Path(path).parent / before if before is not None else None, looks)


def _looks(file: _File, table: Any) -> str:
    """The setting of the table [gate]."""
    if not isinstance(table, dict):
        raise UsageError(f"{file.where((), GATE)}: [gate] must be a table with looks")
    for key in table:
        if key != "looks":
            raise UsageError(f"{file.where((GATE,), key)}: [gate] has an unknown key '{key}'.{suggest(key, ['looks'])}")
    looks = table.get("looks", "once")
    if looks not in LOOKS:
        raise UsageError(f'{file.where((GATE,), "looks")}: looks must be "once" or "nightly", not {looks!r}')
    return str(looks)


def _text(file: _File, data: dict[str, Any], key: str, what: str) -> str | None:
    value = data.pop(key, None)
    if value is not None and (not isinstance(value, str) or not value):
        raise UsageError(f"{file.where((), key)}: {key} must be {what}, in quotes")
    return value


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


def _bounds(file: _File, method: str, metric: str, values: Mapping[str, Any]) -> list[Bound]:
    if not values:
        raise UsageError(
            f"{file.where((method, metric))}: [{method}.{metric}] is empty: give one of {', '.join(RULES)}"
        )
    if metric in HUMAN_METRICS:
        metric, values = _human(file, method, metric, dict(values))
    found = [_bound(file, method, metric, rule, value) for rule, value in values.items()]
    limits = {bound.rule: bound for bound in found}
    if "min" in limits and "max" in limits and limits["min"].value > limits["max"].value:
        where = f"{file.path}, line {limits['max'].line}: [{method}.{metric}]"
        raise UsageError(f"{where} max is below min, so that no value can pass: raise max or lower min")
    return found


def _human(file: _File, method: str, metric: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a human metric with the method that it is over, and its rules, which are min and max alone."""
    over, head = values.pop("over", None), f"[{method}.{metric}]"
    wrong = next((rule for rule in values if rule not in ("min", "max")), None)
    if wrong is not None:
        where = file.where((method, metric), wrong)
        raise UsageError(f"{where}: {head} takes min, max and over; {wrong} is not judged on votes")
    if not values:
        raise UsageError(f"{file.where((method, metric))}: {head} needs min or max, a share of votes")
    if over is None:
        return metric, values
    where = file.where((method, metric), "over")
    if not isinstance(over, str):
        raise UsageError(f'{where}: {head} over must be the name of a method, as in over = "base"')
    file.known(f"{where}: {head} over", "method", over)
    if over == method:
        raise UsageError(f"{where}: {head} over must name a method other than {method} itself")
    return f"{metric}{OVER}{over}", values


def _bound(file: _File, method: str, metric: str, rule: str, value: Any) -> Bound:
    line = line_of(file.text, (method, metric.split(OVER)[0]), rule)
    where = f"{file.path}, line {line}: [{method}.{metric.split(OVER)[0]}]"
    if rule not in RULES:
        raise UsageError(f"{where} has an unknown key '{rule}'.{suggest(rule, RULES)} Known keys: {', '.join(RULES)}.")
    number = read_number(where, rule, value)
    if rule.startswith("max_drop") and number < 0:
        raise UsageError(f"{where} {rule} must not be negative: it is the largest loss allowed")
    return Bound(method, metric, rule, number, line)


def _dominances(file: _File, method: str, value: Any) -> list[Dominance]:
    if value is None:
        return []
    many = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in many):
        where = file.where((method,), DOMINATES)
        raise UsageError(f"{where}: [{method}.dominates] must be a table with over and on")
    return [_dominance(file, method, one, nth) for nth, one in enumerate(many)]


def _dominance(file: _File, method: str, table: Mapping[str, Any], nth: int) -> Dominance:
    name, head = (method, DOMINATES), f"[{method}.dominates]"
    for key in table:
        if key not in _DOMINANCE_KEYS:
            listing = f"{suggest(key, _DOMINANCE_KEYS)} Known keys: {', '.join(_DOMINANCE_KEYS)}."
            raise UsageError(f"{file.where(name, key, nth)}: {head} has an unknown key '{key}'.{listing}")
    over, metrics, margin = table.get("over"), table.get("on"), table.get("margin", {})
    if not isinstance(over, str):
        raise UsageError(
            f'{file.where(name, "over", nth)}: {head} needs over = "method", the method that has to be beaten'
        )
    file.known(f"{file.where(name, 'over', nth)}: {head} over", "method", over)
    if over == method:
        raise UsageError(f"{file.where(name, 'over', nth)}: {head} over must name a method other than {method} itself")
    if not isinstance(metrics, list) or not metrics or not all(isinstance(metric, str) for metric in metrics):
        raise UsageError(f'{file.where(name, "on", nth)}: {head} needs on = ["metric", ...], at least one metric')
    for metric in metrics:
        file.known(f"{file.where(name, 'on', nth)}: {head} on", "metric", metric)
        if metric in HUMAN_METRICS:
            where = f"{file.where(name, 'on', nth)}: {head} on"
            raise UsageError(f"{where} {metric} is not judged: write a table [{method}.{metric}] with min and over")
    if len({is_official(metric) for metric in metrics}) > 1:
        raise UsageError(
            f"{file.where(name, 'on', nth)}: {head} on mixes the official and the corrected protocol, whose metrics "
            "are never judged together: write one table for each"
        )
    margins = _margins(file.where(name, "margin", nth), head, metrics, margin)
    return Dominance(method, over, tuple(dict.fromkeys(metrics)), margins, line_of(file.text, name, None, nth))


def _margins(where: str, head: str, metrics: list[str], margin: Any) -> tuple[float, ...]:
    if not isinstance(margin, dict):
        raise UsageError(f"{where}: {head} margin must be a table such as {{ {metrics[0]} = 0.01 }}")
    flat = {name: read_number(f"{where}: {head} margin", name, value) for name, value in _flat(margin)}
    for name, value in flat.items():
        if name not in metrics:
            raise UsageError(
                f"{where}: {head} margin names '{name}', which is not listed in `on`.{suggest(name, metrics)}"
            )
        if value < 0:
            raise UsageError(
                f"{where}: {head} margin {name} must not be negative: it is the loss allowed in that metric"
            )
    return tuple(flat.get(metric, 0.0) for metric in dict.fromkeys(metrics))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
