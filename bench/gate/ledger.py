"""Looks of a nightly gate: how much of the 5 % each night may spend, written beside the baseline.

A gate that looks every night at 5 % raises a false alarm sooner or later. With `[gate] looks = "nightly"` look k spends
5 % / (k (k + 1)) (alpha spending, Lan & DeMets 1983, Discrete Sequential Boundaries for Clinical Trials), which comes
to 5 % over all nights together, and shares it among the lines. The same runs judged again are the same look. Drops are
measured against one anchor, the baseline file, which no night moves. Where it is moved all the same, looks go on being
counted: a baseline that is renewed at each good night is a lucky one, and a count that began anew each time would raise
a false alarm in 40 % of 60 nights (benchmarks/nightly_gate.py).
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
    """The looks that were made, at this baseline and those before it.

    `lost`: there was no ledger beside the baseline, though that existed. `moved`: the baseline is not the one of the
    last look.
    """

    path: Path
    anchor: str  # digest of the baseline
    looks: tuple[Look, ...] = ()
    lost: bool = False
    moved: bool = False

    def look(self, key: str) -> int:
        """Which look these runs are, from 1: their own if they were judged before, else the next."""
        keys = [look.key for look in self.looks]
        return keys.index(key) + 1 if key in keys else len(keys) + 1

    def with_look(self, key: str) -> Ledger:
        """The ledger after these runs were judged."""
        if any(look.key == key for look in self.looks):
            return self
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, looks=(*self.looks, Look(key, now)), moved=False)

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
        if self.moved:
            text += " The baseline was changed since the last look; looks go on being counted."
        return text


def spent_at(look: int) -> float:
    """The false alarms that look k may raise, in (0, 1): all together come to ALPHA."""
    return ALPHA / (look * (look + 1))


def look_level(look: int, lines: int, of: int | None = None) -> float:
    """The level of the interval of each line at look k: all lines together spend what the look may.

    Of `of` looks that were fixed beforehand each spends the same, and one such part is kept back: the first looks are
    at few prompts, whose limits are approximate.
    """
    return 1 - (spent_at(look) if of is None else ALPHA / (of + 1)) / max(1, lines)


def key_of(summaries: Sequence[Summary], anchor: str = "") -> str:
    """Of the runs that are judged, and the baseline they are held against: other scores are another look."""
    digests = [anchor, *sorted(summary.digest for summary in summaries)]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]


def ledger_path(baseline: Path) -> Path:
    """Beside the baseline: shapes.json -> shapes.ledger.json."""
    return baseline.with_suffix(".ledger.json")


def read_ledger(baseline: Path) -> Ledger:
    """The ledger of a baseline file; a new one where there is none.

    A missing ledger counts as lost: whether there were looks is not known. UsageError for a file that is none.
    """
    path, anchor = ledger_path(baseline), _digest(baseline) if baseline.exists() else ""
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
    return Ledger(path, anchor, looks, lost, moved=known != anchor)


def _digest(baseline: Path) -> str:
    return hashlib.sha256(baseline.read_bytes()).hexdigest()[:16]


def for_new_anchor(baseline: Path) -> Ledger:
    """The ledger of an anchor that is about to be written: looks at the one before it go on being counted."""
    path = ledger_path(baseline)
    return read_ledger(baseline) if baseline.exists() or path.exists() else Ledger(path, "")


def anchored(ledger: Ledger, baseline: Path) -> Ledger:
    """Write the ledger beside the anchor that was just written. A choice among nights is a look as well."""
    digest = _digest(baseline)
    known = ledger.with_look(f"anchor {digest}") if ledger.looks else ledger
    found = replace(known, anchor=digest, moved=False)
    found.write()
    return found
