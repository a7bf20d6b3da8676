"""Runs in the experiment tracker that people have: Weights & Biases, MLflow, trackio.

A run of bench is a run of the tracker, found again by its id, so that tracking twice adds nothing: its settings, each
metric's mean with interval and counts, every value as a table, and the plot of quality against diversity. Where it goes
is the tracker's own business (WANDB_MODE, MLFLOW_TRACKING_URI, ...). A tracker that fails is a warning, and no more.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import MissingError, unknown
from bench.formatting import one_line

if TYPE_CHECKING:
    import pandas as pd

    from bench.store.runs import Run
    from bench.store.select import RunSources

logger = logging.getLogger(__name__)

PROJECT = "imagerefl-bench"
# trackio is no extra: its package asks for a Pillow below 13, this one for 13 or newer, and pip installs no such pair.
_EXTRAS = {
    "wandb": f"'{PROJECT}[wandb]'",
    "mlflow": f"'{PROJECT}[mlflow]'",
    "trackio": "--no-deps trackio gradio-client orjson brotli python-multipart websockets",
}
TRACKERS = tuple(_EXTRAS)


@dataclass(frozen=True)
class Tracked:
    """What goes to the tracker as one run: `key` finds it again; `summary` are numbers by name."""

    key: str
    name: str
    group: str
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    files: Sequence[Path] = ()


def check_tracker(name: str | None) -> None:
    """Before the work: UsageError for an unknown tracker, MissingError with the command where it is not installed."""
    if name is None:
        return
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    if not _installed(name):
        raise MissingError(f"--track {name} needs the package {name}: pip install {_EXTRAS[name]} (docs/export.md)")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def track(
    runs: RunSources,
    tracker: str,
    *,
    report: Path | str | None = None,
    results: Path | str = Path("results"),
    suite: str | None = None,
) -> int:
    """Log finished runs to a tracker ("wandb", "mlflow" or "trackio"); returns how many of its runs were written.

    Does what `--track` does. `report`: the folder of a report of these runs, whose plots and tables are a further run
    of the tracker. UsageError (unknown tracker, no runs) and MissingError (not installed) are raised; what the tracker
    itself raises is logged as one warning, and what came before it stays.

    >>> import bench
    >>> try:
    ...     bench.track("base", "notebook", results=RESULTS)
    ... except bench.errors.UsageError as error:
    ...     print(error)
    unknown tracker 'notebook'...
    """
    check_tracker(tracker)
    from bench.analysis.opened import open_runs

    opened, _, _ = open_runs(runs, results, suite)
    log = {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}[tracker]
    with tempfile.TemporaryDirectory() as folder:
        made = [*_of_runs(opened, Path(folder)), *_of_report(opened, report)]
        return _logged(log, made, tracker)


def _logged(log: Callable[[Tracked], None], made: Iterable[Tracked], tracker: str) -> int:
    done = 0
    try:
        for tracked in made:
            log(tracked)
            done += 1
    except (Exception, SystemExit) as error:  # whatever a tracker does, the runs are there
        reason = one_line(str(error))[:200] or type(error).__name__
        logger.warning(f"{tracker} did not take the runs ({reason}); they are finished all the same")
    return done


def _of_runs(runs: Sequence[Run], folder: Path) -> Iterator[Tracked]:
    from bench.store.select import display_names

    plots = {suite: _plots([run for run in runs if run.suite == suite], folder) for suite in {r.suite for r in runs}}
    for run, shown in zip(runs, display_names(runs), strict=True):
        yield Tracked(
            key=_key(run.suite, run.name),
            name=shown,
            group=run.suite,
            config=_config(run),
            summary=_summary(run),
            tables={"values": run.tidy()},
            images=plots[run.suite],
        )


def _of_report(runs: Sequence[Run], report: Path | str | None) -> Iterator[Tracked]:
    """The files of a report; of several suites, each suite's in its folder."""
    if report is None:
        return
    import pandas as pd

    for suite in sorted({run.suite for run in runs}):
        folder = Path(report) / suite if (Path(report) / suite / "table.csv").is_file() else Path(report)
        if not (folder / "table.csv").is_file():
            continue
        images = {path.stem: path for path in (folder / "pareto.png", folder / "gallery.png") if path.is_file()}
        names = ("index.html", "table.md", "table.csv", "differences.csv", "scores.csv")
        yield Tracked(
            key=_key(suite, "report"),
            name=f"report of {suite}",
            group=suite,
            config={"suite": suite, "runs": [run.name for run in runs if run.suite == suite]},
            tables={"table": pd.read_csv(folder / "table.csv")},
            images=images,
            files=[folder / name for name in names if (folder / name).is_file()],
        )


def _key(suite: str, name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{suite}-{name}")


def _plots(runs: Sequence[Run], folder: Path) -> dict[str, Path]:
    """The plot of quality against diversity of comparable runs, as a file; none where it cannot be drawn."""
    from bench.analysis.comparable import largest_comparable
    from bench.analysis.table.build import build
    from bench.reporting.plots import pareto_figure
    from bench.reporting.style import save

    kept, left_out = largest_comparable(runs)
    if not {"image", "group"} <= {facts.kind for run in kept for facts in run.metrics.values()}:
        return {}
    path = folder / _key(kept[0].suite, "pareto.png")
    with path.open("wb") as stream:
        save(pareto_figure(build(kept, left_out)), stream, "png")
    return {"pareto": path}


def _config(run: Run) -> dict[str, Any]:
    """What was run, as plain values: no path of this machine."""
    from bench.formatting import without_folders

    conditions = {key: value for key, value in run.conditions.items() if not isinstance(value, dict)}
    cards = {f"{name}.card": facts.digest[:16] for name, facts in run.metrics.items()}
    versions = {f"{name}.version": facts.version for name, facts in run.metrics.items() if facts.version}
    plain = {
        "suite": run.suite,
        "method": run.method,
        "run": run.name,
        "prompts": len(run.prompts),
        "samples": run.samples,
        "trained_on": ", ".join(run.trained_on),
        **conditions,
        **cards,
        **versions,
    }
    return {key: without_folders(value) if isinstance(value, str) else value for key, value in plain.items()}


def _summary(run: Run) -> dict[str, float]:
    """Per metric mean, interval and counts; what is not a number is absent."""
    from bench.analysis.summary import metric_interval

    found: dict[str, float] = {}
    for name in run.metrics:
        interval = metric_interval(run, name)
        numbers = {
            "mean": interval.mean,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n": interval.n,
            "n_unscored": interval.n_unscored,
        }
        found |= {f"{name}/{key}": float(value) for key, value in numbers.items() if math.isfinite(value)}
    return found


def _wandb(tracked: Tracked) -> None:
    import os

    import wandb

    project = os.environ.get("WANDB_PROJECT") or PROJECT
    run = wandb.init(
        project=project,
        id=tracked.key,
        name=tracked.name,
        group=tracked.group,
        config=dict(tracked.config),
        resume="allow",
        reinit="finish_previous",
    )
    try:
        run.summary.update(dict(tracked.summary))
        media: dict[str, Any] = {name: wandb.Image(str(path)) for name, path in tracked.images.items()}
        media |= {name: wandb.Table(dataframe=_plain(frame)) for name, frame in tracked.tables.items()}
        run.log(media)
        if tracked.files:
            files = wandb.Artifact(name=tracked.key, type="report")
            for path in tracked.files:
                files.add_file(str(path))
            run.log_artifact(files)
    finally:
        run.finish()


def _mlflow(tracked: Tracked) -> None:
    import os

    import mlflow

    if not os.environ.get("MLFLOW_EXPERIMENT_NAME") and not os.environ.get("MLFLOW_EXPERIMENT_ID"):
        mlflow.set_experiment(PROJECT)
    known = mlflow.search_runs(filter_string=f"tags.bench_key = '{tracked.key}'", output_format="list")
    found = known[0].info.run_id if known else None
    tags = {"bench_key": tracked.key, "suite": tracked.group}
    with mlflow.start_run(run_id=found, run_name=None if found else tracked.name, tags=tags):
        if not found:  # parameters cannot change
            mlflow.log_params({_mlflow_name(key): value for key, value in tracked.config.items()})
        mlflow.log_metrics({_mlflow_name(key): value for key, value in tracked.summary.items()})
        with tempfile.TemporaryDirectory() as folder:
            for name, frame in tracked.tables.items():
                (Path(folder) / f"{name}.csv").write_text(_csv(frame), encoding="utf-8")
                mlflow.log_artifact(str(Path(folder) / f"{name}.csv"))
        for path in (*tracked.images.values(), *tracked.files):
            mlflow.log_artifact(str(path))


def _mlflow_name(text: str) -> str:
    """MLflow takes letters, digits, _ - . / : and spaces in names."""
    return re.sub(r"[^\w\-./: ]", "_", text)


def _trackio(tracked: Tracked) -> None:
    import trackio

    trackio.init(project=PROJECT, name=tracked.key, group=tracked.group, config=dict(tracked.config), resume="allow")
    try:
        media: dict[str, Any] = {name: trackio.Image(str(path)) for name, path in tracked.images.items()}
        media |= {name: trackio.Table(dataframe=_plain(frame)) for name, frame in tracked.tables.items()}
        trackio.log({**tracked.summary, **media})
    finally:
        trackio.finish()


def _csv(frame: pd.DataFrame) -> str:
    """As CSV, in which no text begins a formula."""
    from bench.formatting import csv_text

    safe = frame.map(lambda cell: csv_text(cell) if isinstance(cell, str) else cell)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of plain Python values, None for what is absent: trackers know no pandas extension types."""
    return frame.astype(object).where(frame.notna(), None)
