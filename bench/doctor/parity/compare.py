"""How far our scorers are from their originals on one fixture: a row a scorer, and the inputs without a value.

The originals' values come live from their interpreter (`verify`) or from a file that such a run wrote.
"""

from __future__ import annotations

import logging
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.doctor.parity import environment
from bench.doctor.parity.fixtures import SEED, Fixture, build
from bench.doctor.parity.ours import SCORERS, Value, run_ours
from bench.formatting import Table

logger = logging.getLogger(__name__)

# Absolute, in float32, in each scorer's own unit.
TOLERANCES = {
    "image_reward": 1e-5,
    "hpsv2": 5e-6,
    "hpsv2.1": 5e-6,
    "hpsv2.1-antialias": 5e-6,
    "pickscore": 2e-4,
    "clip_score": 2e-4,
    **{name: 1e-6 for name in SCORERS if name.startswith("lpips-")},
    **{name: 2e-6 for name in SCORERS if name.startswith("dreamsim-")},
}
PAIRS = 100
"""As many must be compared for each scorer; fewer prove nothing."""
_MISREAD = "the original's processor takes rows for colour channels where an image is 1 or 3 pixels high"


@dataclass(frozen=True, slots=True)
class Row:
    """One scorer. `largest`, `relative`: the largest differences; `spread`: the deviation of the original's values.

    `without`: input -> why there is no original value to compare with. `wrong`: what fails, as clauses.
    """

    scorer: str
    pairs: int
    largest: float
    relative: float
    spread: float
    tolerance: float
    without: Mapping[str, str]
    wrong: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """equal, or differs."""
        return "differs" if self.wrong else "equal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All rows, the originals' versions and the fixture's digest."""

    rows: tuple[Row, ...]
    versions: Mapping[str, str]
    digest: str

    @property
    def exit_code(self) -> int:
        """0 when every scorer equals its original, else 1."""
        return 1 if any(row.wrong for row in self.rows) else 0

    @property
    def verdict(self) -> str:
        """One sentence."""
        wrong = [f"{row.scorer} ({'; '.join(row.wrong)})" for row in self.rows if row.wrong]
        if wrong:
            return f"Not equal to the original: {', '.join(wrong)}."
        return f"All {len(self.rows)} scorers equal their originals within the tolerances."

    def table(self) -> Table:
        """The rows for printing."""
        header = ("scorer", "pairs", "largest", "relative", "spread", "tolerance", "verdict")
        rows = tuple(
            (row.scorer, str(row.pairs), *(f"{value:.1e}" for value in numbers(row)), row.verdict) for row in self.rows
        )
        return Table(header, rows, right=frozenset({1, 2, 3, 4, 5}))


def numbers(row: Row) -> tuple[float, ...]:
    """The four figures of a row as they are printed."""
    return row.largest, row.relative, row.spread, row.tolerance


def inputs_of(scorer: str, fixture: Fixture) -> list[str]:
    """What each value of a scorer is about, by name, in the order of the values."""
    if scorer.startswith("lpips-"):
        return [f"{Path(a).stem} and {Path(b).stem}" for a, b in fixture.lpips_pairs]
    if scorer.startswith("dreamsim-"):
        return [f"{Path(a).stem} and {Path(b).stem}" for a, b in fixture.dreamsim_pairs]
    return [Path(fixture.images[image]).stem for image, _ in fixture.pairs]


def undefined(scorer: str, name: str) -> str | None:
    """Why the original's value of an input means nothing, or None where it does mean something."""
    if scorer not in ("pickscore", "clip_score"):
        return None
    height = int(name.split("-")[1].split("x")[1])
    return _MISREAD if height in (1, 3) else None


def compare(scorer: str, fixture: Fixture, official: Sequence[Value], ours: Sequence[Value]) -> Row:
    """Put the values of one scorer side by side."""
    without: dict[str, str] = {}
    wrong: list[str] = []
    both: list[tuple[float, float]] = []
    for name, theirs, own in zip(inputs_of(scorer, fixture), official, ours, strict=True):
        if isinstance(theirs, dict):
            without[name] = theirs["raises"]
        elif (why := undefined(scorer, name)) is not None:
            without[name] = why
        elif isinstance(own, dict):
            wrong.append(f"{name} is refused, the original gives {theirs:.6g}")
        else:
            both.append((theirs, own))
    differences = [abs(theirs - own) for theirs, own in both]
    tolerance = TOLERANCES[scorer]
    bad = sum(not difference <= tolerance for difference in differences)  # a NaN is bad, too
    if bad:
        wrong.append(f"{bad} of {len(differences)} values differ by more than {tolerance:g}")
    if len(both) < PAIRS:
        wrong.append(f"only {len(both)} pairs were compared, {PAIRS} are needed")
    spread = statistics.pstdev([theirs for theirs, _ in both]) if both else math.nan
    if not spread > 100 * tolerance:
        wrong.append(f"the fixture's values spread by {spread:.1e} only, so that it shows nothing")
    relative = max(
        (difference / abs(theirs) for difference, (theirs, _) in zip(differences, both, strict=True) if theirs),
        default=math.nan,
    )
    return Row(
        scorer, len(both), max(differences, default=math.nan), relative, spread, tolerance, without, tuple(wrong)
    )


def judge(official: Mapping[str, Any], fixture: Fixture, folder: Path, only: Sequence[str] = ()) -> Outcome:
    """Run ours on the fixture and compare with the originals' values (the contents of a run's JSON)."""
    names = list(only) or list(official["values"])
    rows = []
    for name in names:
        ours = run_ours(fixture, folder, [name])[name]
        rows.append(compare(name, fixture, official["values"][name], ours))
    return Outcome(tuple(rows), official["versions"], fixture.digest)


def verify(python: str | None = None, cache: Path | None = None, seed: int = SEED) -> tuple[Outcome, dict[str, Any]]:
    """The whole proof: environment, fixture, originals, ours. Returns the outcome and the originals' values.

    MissingError (exit code 4) where the originals' environment cannot be made or does not run.
    """
    interpreter = environment.find_python(python, cache)
    with tempfile.TemporaryDirectory(prefix="bench-parity-") as made:
        folder = Path(made) / "fixture"
        logger.info("building the fixture ...")
        fixture = build(folder, seed=seed)
        logger.info(f"running the original scorers with {interpreter} ...")
        official = environment.run_official(interpreter, folder, list(SCORERS))
        logger.info("running ours ...")
        return judge(official, fixture, folder), official
