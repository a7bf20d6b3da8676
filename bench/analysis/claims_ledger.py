"""Claims about runs, each with a sentence, judged by intervals: holds, does not hold, undecided, not comparable.

A ledger is a TOML file. `bench claims FILE.toml` judges it:

suite = "shapes"                 # optional: only runs of this suite

[[claim]]
id = "imagerefl-accuracy"
sentence = "ImageReFL costs attribute accuracy."
method = "imagerefl"
over = "base"                    # the other method; without it the method's own mean is meant
metric = "attribute_accuracy"
direction = "below"              # above | below | within | open
by = 0.02                        # optional: by at least this, in the metric's unit; of within: by at most
of = "base"                      # optional: the share, in percent, of the difference of `of` to `over`, in place of it
reported = [-0.097, -0.183, -0.035]  # optional: value, and limits if any, as printed in `source`
tolerance = 0.002                # optional: how far the measured value may be from the reported one
source = "README.md"             # optional: where it is said
protocol = "corrected"           # optional: official means the metric's value by the authors' code (metric@official)

A metric human_preference, human_diversity or human_alignment is the win rate of the method in a study (`--study DIR`),
ties half: over another method, or over all others of the study. It is held against one half, from which `by` counts;
`reported` is a win rate.

`open` claims that it is not decided: the interval holds `by` (default 0). Every claim is judged by its own 95 %
interval, with the worst case where the runs are scored differently (`bench.analysis.estimand`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError, suggest, system_reason
from bench.runtime.toml_text import parse_toml

DIRECTIONS = ("above", "below", "within", "open")
PROTOCOLS = ("corrected", "official")
TEXTS = ("id", "sentence", "method", "over", "metric", "direction", "of", "source", "protocol")
_KEYS = (*TEXTS, "by", "reported", "tolerance")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a ledger; see the module."""

    id: str
    sentence: str
    method: str
    metric: str
    direction: str
    over: str = ""
    by: float = 0.0
    of: str = ""
    reported: tuple[float, ...] = ()
    tolerance: float = math.inf
    source: str = ""
    protocol: str = "corrected"

    @property
    def stored_metric(self) -> str:
        """The name of the metric's values: official ones have a name of their own."""
        return f"{self.metric}@official" if self.protocol == "official" else self.metric


def read_ledger(file: Path | str) -> tuple[list[Claim], str | None]:
    """The claims of a ledger, and the suite that they are about. UsageError names the claim and the key."""
    try:
        data = parse_toml(Path(file).read_text(encoding="utf-8-sig"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the claims file {file}: {system_reason(error)}") from None
    listed, suite = data.get("claim"), data.get("suite")
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{file} has no claims: write tables [[claim]] with {', '.join(_KEYS[:6])}")
    found = [_claim(f"{file}, claim {number}", table) for number, table in enumerate(listed, 1)]
    twice = [one.id for one in found if sum(other.id == one.id for other in found) > 1]
    if twice:
        raise UsageError(f"{file} has two claims with the id '{twice[0]}': ids must differ")
    return found, str(suite) if suite is not None else None


def _claim(where: str, table: Any) -> Claim:
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} must be a table [[claim]]")
    where = f"{where} ({table.get('id', 'no id')})"
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f"{where} has an unknown key '{key}'.{suggest(str(key), _KEYS)}")
        if key in TEXTS and (not isinstance(value, str) or not value):
            raise UsageError(f"{where}: {key} must be a string that is not empty")
    for key in ("id", "sentence", "method", "metric", "direction"):
        if key not in table:
            raise UsageError(f"{where} needs {key}")
    for key, known in (("direction", DIRECTIONS), ("protocol", PROTOCOLS)):
        if key in table and table[key] not in known:
            raise UsageError(f"{where}: {key} must be one of {', '.join(known)}, not '{table[key]}'")
    if "of" in table and "over" not in table:
        raise UsageError(f"{where}: a share needs over as well as of: (method - over) / (of - over)")
    given = dict(table)
    for key in ("by", "tolerance"):
        if key in given:
            given[key] = _number(where, key, given[key])
    reported = given.get("reported", ())
    values = reported if isinstance(reported, list | tuple) else [reported]
    given["reported"] = tuple(_number(where, "reported", value) for value in values)
    return Claim(**given)


def _number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where}: {key} must be a number, not {value!r}")
    return float(value)
