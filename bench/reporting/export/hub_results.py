"""Evaluation results in the formats of the Hugging Face hub: `.eval_results/*.yaml` and a model card's `model-index`.

https://huggingface.co/docs/hub/eval-results; both are made by `huggingface_hub`'s own classes. The hub shows the first
on a model's page and on the leaderboard of the benchmark, a dataset repository in which every task has an id: here the
names of the metrics. A value goes with its interval, its number of values, and whether the model was trained on it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.in_reward import in_reward, with_training
from bench.analysis.opened import open_runs
from bench.analysis.run_notes import unscored_notes
from bench.analysis.stats import Interval
from bench.analysis.summary import metric_interval
from bench.errors import UsageError
from bench.formatting import one_line
from bench.store.atomic import atomic_write, make_folder
from bench.store.on_object_stores import on_object_stores
from bench.store.runs import MetricFacts, Run
from bench.store.select import RunSources, display_names

logger = logging.getLogger(__name__)

TASK = "text-to-image"
FOLDER = ".eval_results"
CARD = "README.md"
_OWNER_AND_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@on_object_stores()
def export_hub_results(
    runs: RunSources,
    out: Path | str,
    *,
    dataset: str | None = None,
    revision: str | None = None,
    model: str | None = None,
    source: str | None = None,
    results: Path | str = Path("results"),
    suite: str | None = None,
) -> list[Path]:
    """Write the results of one model's runs into `out`, a clone of its repository; returns the files written.

    `README.md` gets a `model-index` in its metadata: its text, and the results of others in it, stay. With `dataset`,
    the benchmark's repository on the hub (`owner/name`; `revision` is a commit of it), each run has a file in
    `.eval_results/`. `model` is the model's name (None: the name of the folder), `source` a link to the report. Metrics
    without a value are left out, which the log says. UsageError: no runs, a run twice, a malformed name, or a
    `README.md` that is no model card.

    >>> import bench
    >>> [path.name for path in bench.export_hub_results("refl", OUT, dataset="me/bench", results=RESULTS)]
    ['README.md', 'imagerefl-bench-small-refl.yaml']
    """
    if dataset is not None and not _OWNER_AND_NAME.fullmatch(dataset):
        raise UsageError(f"--dataset {dataset}: write the benchmark's repository on the hub as owner/name")
    if revision is not None and (dataset is None or not _COMMIT.fullmatch(revision)):
        raise UsageError(f"--revision {revision}: give the commit of --dataset, 40 hexadecimal digits")
    if source is not None and not source.startswith(("https://", "http://")):
        raise UsageError(f"--source {source}: give the address of a page, https://...")
    opened, left_out, _ = open_runs(runs, results, suite)
    for omitted in left_out:
        logger.warning(one_line(f"not exported: {omitted.run} ({omitted.why})"))
    if not opened:
        raise UsageError("no finished run is left to export: name others")
    opened = with_training(opened)
    names = display_names(opened)
    out = Path(out)
    name = model or out.resolve().name
    for run, shown in zip(opened, names, strict=True):
        for note in unscored_notes(run, shown):
            logger.warning(one_line(note))
        if run.doubt:
            logger.warning(one_line(f"{shown}: {run.doubt}"))
    # Everything is made before anything is written.
    card = _card(out / CARD, name, [_index_entry(run, dataset, revision, source) for run in opened])
    files = [(out / CARD, card)]
    if dataset is None:
        logger.warning(f"{FOLDER}/ is not written: it belongs to a benchmark's repository; name it with --dataset")
    else:
        files += [
            (out / FOLDER / _file_name(run.suite, shown), _entries_text(run, dataset, revision, source))
            for run, shown in zip(opened, names, strict=True)
        ]
    for path, text in files:
        make_folder(path.parent)
        atomic_write(path, text)
    return [path for path, _ in files]


def _file_name(suite: str, shown: str) -> str:
    return "imagerefl-bench-" + re.sub(r"[^A-Za-z0-9._-]+", "-", f"{suite}-{shown}").strip("-") + ".yaml"


def _values(run: Run) -> list[tuple[MetricFacts, Interval]]:
    """The metrics that have a value."""
    found = [(facts, metric_interval(run, name)) for name, facts in run.metrics.items()]
    return [(facts, interval) for facts, interval in found if math.isfinite(interval.mean)]


def _date(run: Run) -> str | None:
    made = run.store.manifest().provenance.get("created") if run.store is not None else None
    return str(made) if made else None


def _entries_text(run: Run, dataset: str, revision: str | None, source: str | None) -> str:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # as it writes its own cards

    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=facts.name,
            value=interval.mean,
            dataset_revision=revision,
            date=_date(run),
            source_url=source,
            notes=_notes(run, facts, interval),
        )
        for facts, interval in _values(run)
    ]
    return str(yaml_dump(eval_result_entries_to_yaml(entries)))


def _notes(run: Run, facts: MetricFacts, interval: Interval) -> str:
    """What a reader of the value has to know, in one line."""
    told = [
        f"{facts.display}, {facts.direction} is better",
        _limits(interval),
        f"{len(run.prompts)} prompts x {run.samples} images of suite {run.suite}",
        f"run {run.name}",
        f"metric version {facts.version}" if facts.version else "",
        f"{interval.n_unscored} values unscored" if interval.n_unscored else "",
        "the model was trained on this metric" if in_reward(run.trained_on, facts.name) else "",
    ]
    return one_line("; ".join(part for part in told if part))


def _limits(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return f"no interval ({interval.reason})" if interval.reason else "no interval"
    return f"95 % interval {interval.low:.6g} to {interval.high:.6g}"


def _index_entry(run: Run, dataset: str | None, revision: str | None, source: str | None) -> list[Any]:
    """The results of one run as `huggingface_hub.EvalResult`, one a metric; those of one run stay together."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset or f"imagerefl-bench/{run.suite}",
            dataset_name=run.title or run.suite,
            dataset_config=run.name,
            dataset_revision=revision,
            dataset_args={"prompts": len(run.prompts), "samples": run.samples, "prompts_digest": run.prompts_digest},
            metric_type=facts.name,
            metric_name=facts.display,
            metric_value=interval.mean,
            metric_args=_numbers(interval)
            | {
                "direction": facts.direction,
                "unit": facts.unit,
                "version": facts.version,
                "card": facts.digest[:16],
                "trained_on": in_reward(run.trained_on, facts.name),
            },
            source_url=source,
        )
        for facts, interval in _values(run)
    ]


def _numbers(interval: Interval) -> dict[str, Any]:
    limits = {"ci_low": interval.low, "ci_high": interval.high, "level": 0.95}
    known = limits if math.isfinite(interval.low) else {"no_interval": interval.reason or "one prompt"}
    return {**known, "n": interval.n, "n_unscored": interval.n_unscored}


def _card(path: Path, model: str, results: Sequence[Sequence[Any]]) -> str:
    """The model card with the runs' results in its metadata; what it holds of other runs is kept."""
    import tempfile

    from huggingface_hub.repocard import metadata_load, metadata_save
    from huggingface_hub.repocard_data import eval_results_to_model_index

    flat = [entry for entries in results for entry in entries]
    index = eval_results_to_model_index(model, flat)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / CARD
        data: dict[str, Any] = {}
        if path.exists():
            try:
                copy.write_bytes(path.read_bytes())
                data = metadata_load(copy) or {}
            except Exception as error:  # YAML has errors of many classes
                reason = one_line(str(error))[:160]
                raise UsageError(f"{path} has metadata that cannot be read ({reason}): repair it first") from None
        data["model-index"] = _merged(data.get("model-index"), index, path)
        data.setdefault("pipeline_tag", TASK)
        metadata_save(copy, data)
        return copy.read_text(encoding="utf-8")


def _merged(before: Any, index: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The model-index with new results; of the old ones those of the same runs are replaced."""
    if before is None:
        return index
    if not (isinstance(before, list) and all(isinstance(one, dict) for one in before)):
        raise UsageError(f"{path}: model-index must be a list of models: repair it first")
    own = index[0]
    configs = {result["dataset"].get("config") for result in own["results"]}
    merged = [dict(one) for one in before]
    home = next((one for one in merged if one.get("name") == own["name"]), merged[0] if len(merged) == 1 else None)
    if home is None:
        return [*merged, own]
    kept = [one for one in home.get("results") or [] if (one.get("dataset") or {}).get("config") not in configs]
    home["results"] = [*kept, *own["results"]]
    return merged
