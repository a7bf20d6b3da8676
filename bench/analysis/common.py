"""Runs over the units that all of them have: what `--common` compares, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.store.runs import Run, tidy_types

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["prompt_id", "sample"]


def over_common(runs: Sequence[Run]) -> tuple[list[Run], tuple[str, ...]]:
    """The runs with only the values whose (prompt, sample) is scored in every run that has the metric; and captions.

    Set metrics are one value over all images of a run and stay as they are, each at its own N. A caption says for each
    metric how many units are left, one for all metrics where they are the same; there is one even if nothing is lost.
    """
    kept = [[run.scores[run.scores["metric"].map(lambda m, run=run: _is_set(run, m))]] for run in runs]
    lost: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for run in runs for name in run.metrics if not _is_set(run, name)):
        having = [index for index, run in enumerate(runs) if name in run.metrics]
        scored = {index: _scored(runs[index], name) for index in having}
        common = set.intersection(*(set(map(_key, rows[_KEYS].itertuples(index=False))) for rows in scored.values()))
        expected = max(len(runs[index].rows(name)) for index in having)
        for index in having:
            rows = scored[index]
            inside = np.array([_key(row) in common for row in rows[_KEYS].itertuples(index=False)], dtype=bool)
            kept[index].append(rows[inside])
        units = "images" if runs[having[0]].metrics[name].kind == "image" else "prompts"
        lost.setdefault(f"{len(common):,} of {expected:,} {units}", []).append(runs[having[0]].metrics[name].display)
    captions = tuple(f"over what all runs have (--common): {what} of {', '.join(of)}" for what, of in lost.items())
    return [_with(run, frames) for run, frames in zip(runs, kept, strict=True)], captions


def _is_set(run: Run, metric: str) -> bool:
    return metric in run.metrics and run.metrics[metric].kind == "set"


def _scored(run: Run, metric: str) -> pd.DataFrame:
    rows: pd.DataFrame = run.rows(metric)
    chosen: pd.DataFrame = rows.loc[np.isfinite(rows["value"].to_numpy(dtype=np.float64))]
    return chosen


def _key(row: tuple[object, ...]) -> tuple[str, int]:
    import pandas as pd

    prompt_id, sample = row
    return str(prompt_id), -1 if pd.isna(sample) else int(sample)  # type: ignore[call-overload]


def _with(run: Run, frames: Sequence[pd.DataFrame]) -> Run:
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True) if frames else run.scores.iloc[:0]
    scores = tidy_types(whole.sort_values(["metric", *_KEYS], kind="stable", ignore_index=True))
    return replace(run, scores=scores, common=True)
