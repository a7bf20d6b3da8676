"""What has to be said of differences of set metrics, where they are not those of the means that are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.analysis.differences import Difference
from bench.analysis.extrapolation import features_of, is_refused

EXTRAPOLATED = "the difference is of distances extrapolated to infinitely many images"


def set_notes(differences: Sequence[Difference], name: str = "") -> list[str]:
    """A sentence for every Frechet distance that is compared extrapolated, and one where none can be, nor has KID."""
    of = f" of {name}" if name else ""
    found, scored = [], {difference.facts.name for difference in differences}
    for difference in differences:
        if difference.facts.kind != "set" or features_of(difference.facts.card) is None:
            continue
        if math.isfinite(difference.interval.low):
            means = f"the means beside it are those on N = {difference.interval.n:,}"
            found.append(f"{difference.facts.display}{of}: {EXTRAPOLATED}, {means}")
        elif is_refused(difference.interval) and "kid" not in scored:
            found.append(f"{difference.facts.display}{of}: {difference.interval.reason} (bench score --metrics kid)")
    return found
