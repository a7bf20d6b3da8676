"""`bench study forget RATER`: removes what a rater has answered."""

from __future__ import annotations

from pathlib import Path

from bench.errors import unknown
from bench.study.formats import BUNDLE, LABEL_STUDIO, PICK_A_PIC, PLAIN
from bench.study.keys import Keys
from bench.study.serving import opened


def forget(folder: Path | str, rater: str, *, database: str | None = None) -> int:
    """Remove all rows of a rater (by name, link, the link's secret, or completion code) and close the link.

    A rater whose answers were imported is also known by the name in the file, which is not stored. Returns how many
    answers were removed. UsageError when the study has no such rater.
    """
    study, keys, votes = opened(folder, database)
    try:
        imported = set(votes.counts()) - set(study.plan)
        names = {one: one for one in (*study.plan, *imported)} | {keys.completion(one): one for one in study.plan}
        name = names.get(rater) or keys.rater(rater.rstrip("/").rpartition("/")[2])
        found = [name] if name is not None else [one for one in _codes(keys, rater) if one in imported]
        if not found:
            raise unknown("rater", rater, study.plan if len(study.plan) <= 40 else ())
        return sum(map(votes.forget, found))
    finally:
        votes.close()


def _codes(keys: Keys, name: str) -> list[str]:
    """What a name in a file would be known by, for each kind of file."""
    return [keys.imported(kind, name) for kind in (BUNDLE, LABEL_STUDIO, PICK_A_PIC, PLAIN)]
