"""Looks of a nightly gate: how much of the 5 % each night may spend, written beside the baseline.

A gate that looks every night at 5 % raises a false alarm sooner or later. With `[gate] looks = "nightly"` look k spends
5 % / (k (k + 1)) (alpha spending, Lan & DeMets 1983, Discrete Sequential Boundaries for Clinical Trials), which comes
to 5 % over all nights together, and shares it among the lines. The same runs judged again are the same look. Drops are
measured against one anchor, the baseline file, which no night moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import UsageError
from bench.gate.summaries import Summary
from bench.store.atomic import read_bytes, write_output
from bench.store.digests import seal_holds, sealed

ALPHA = 0.05
_VERSION = 1


@dataclass(frozen=True)
class Look:
    """One night: which runs it judged, and when."""

    key: str
    time: str


@dataclass(frozen=True)
class Ledger:
    """The looks that were made against one baseline. `lost`: there was no ledger beside it, though it existed."""

    path: Path
    anchor: str  # digest of the baseline
    looks: tuple[Look, ...] = ()
    lost: bool = False

    def look(self, key: str) -> int:
        """Which look these runs are, from 1: their own if they were judged before, else the next."""
        keys = [look.key for look in self.looks]
        return keys.index(key) + 1 if key in keys else len(keys) + 1

    def with_look(self, key: str) -> Ledger:
        """The ledger after these runs were judged."""
        if any(look.key == key for look in self.looks):
            return self
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, looks=(*self.looks, Look(key, now)))

    def write(self) -> None:
        """Write it whole or not at all."""
        looks = [{"key": look.key, "time": look.time} for look in self.looks]
        data = sealed({"schema_version": _VERSION, "anchor": self.anchor, "lost": self.lost, "looks": looks})
        write_output(self.path, json.dumps(data, indent=1) + "\n")

    def told(self, number: int) -> str:
        """What this look spends, and what is lost, as sentences."""
        spent = 100 * ALPHA * number / (number + 1)
        text = (
            f"Look {number} against this baseline ({self.path.name}): it spends {100 * spent_at(number):.3g} % of 5 %, "
            f"{spent:.3g} % with those before it; all nights together raise a false alarm in at most 5 %."
        )
        if self.lost:
            text += f" There was no {self.path.name} when it began: looks before that are not counted."
        return text


def spent_at(look: int) -> float:
    """The false alarms that look k may raise, in (0, 1): all together come to ALPHA."""
    return ALPHA / (look * (look + 1))


def look_level(look: int, lines: int) -> float:
    """The level of the interval of each line at look k: all lines together spend what the look may."""
    return 1 - spent_at(look) / max(1, lines)


def key_of(summaries: Sequence[Summary]) -> str:
    """Of the runs that are judged: other scores are another look."""
    digests = sorted(summary.digest for summary in summaries)
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]


def ledger_path(baseline: Path) -> Path:
    """Beside the baseline: shapes.json -> shapes.ledger.json."""
    return baseline.with_suffix(".ledger.json")


def read_ledger(baseline: Path) -> Ledger:
    """The ledger of a baseline file; a new one where there is none, or where it is of another baseline.

    A missing ledger counts as lost: whether there were looks is not known. UsageError for a file that is none.
    """
    path, anchor = ledger_path(baseline), hashlib.sha256(baseline.read_bytes()).hexdigest()[:16]
    if not path.exists():
        return Ledger(path, anchor, lost=True)
    try:
        data = json.loads(read_bytes(path).decode("utf-8"))
        if seal_holds(data) is False:
            raise ValueError("it was changed")
        looks = tuple(Look(str(look["key"]), str(look["time"])) for look in data["looks"])
        known, lost = str(data["anchor"]), bool(data["lost"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(
            f"{path} is not a ledger of looks, or is damaged: restore it, or delete it to begin a new one (its looks "
            "are then lost)"
        ) from None
    if known != anchor:  # the baseline was changed by hand: what was spent was spent against another
        return Ledger(path, anchor, lost=True)
    return Ledger(path, anchor, looks, lost)


def begin(baseline: Path) -> None:
    """A new ledger for an anchor that was just written."""
    anchor = hashlib.sha256(baseline.read_bytes()).hexdigest()[:16]
    Ledger(ledger_path(baseline), anchor).write()
