"""All stored values as one tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UsageError
from bench.formatting import one_line
from bench.models.old_runs import doubts
from bench.runtime.log import ONCE, get_logger
from bench.store.on_object_stores import on_object_stores
from bench.store.run_store import find_runs
from bench.store.runs import read_run

if TYPE_CHECKING:
    import pandas as pd

logger = get_logger(__name__)


@on_object_stores(parameter="path")
def load_results(path: str | Path = Path("results")) -> pd.DataFrame:
    """Tidy rows of every run under a results folder, a suite's folder in it, or one run's folder: one row a value.

    Columns: suite, method, run, metric, kind ("image", "group" or "set"), prompt_id, sample, value (in the metric's
    unit), reason, prompt (its text), tags (joined by ";"). A value that could not be computed is NaN and `reason` says
    why. Rows are ordered by run, metric (as tables show them), prompt (as the run has them) and sample. Runs that are
    not complete are included, and outdated ones (`bench doctor`) with a warning. Raises UsageError when there is no
    run, or one of a newer version.

    >>> import bench
    >>> rows = bench.load_results(RESULTS)
    >>> rows.groupby("metric")["kind"].first()["pickscore"]
    'image'
    """
    import pandas as pd

    stores = find_runs(path)
    if not stores:
        raise UsageError(f"no runs in {path}: give a results folder, or create one with `bench run --method base`")
    for folder, doubt in doubts(stores).items():
        told = f"{folder.name}{' is outdated' if doubt.certain else ''}: {doubt.why}"
        logger.warning(one_line(told), extra=ONCE)
    return pd.concat([read_run(store).tidy() for store in stores], ignore_index=True)
