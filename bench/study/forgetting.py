"""`bench study forget RATER`: removes what a rater has answered."""

from __future__ import annotations

from pathlib import Path

from bench.errors import unknown
from bench.study.serving import opened


def forget(folder: Path | str, rater: str, *, database: str | None = None) -> int:
    """Remove all rows of a rater (by name, link, the link's secret, or completion code) and close the link.

    Returns how many answers were removed. UsageError when the study has no such rater.
    """
    study, keys, votes = opened(folder, database)
    try:
        imported = set(votes.counts()) - set(study.plan)
        names = {one: one for one in (*study.plan, *imported)} | {keys.completion(one): one for one in study.plan}
        name = names.get(rater) or keys.rater(rater.rstrip("/").rpartition("/")[2])
        if name is None:
            raise unknown("rater", rater, study.plan if len(study.plan) <= 40 else ())
        return votes.forget(name)
    finally:
        votes.close()
